"""Where records go beside the journal and the store: TensorBoard, W&B, MLflow, a URL. All are off by default."""
