"""Networks by name, for whoever evaluates or exports them: a run's, timm's, a folder's, and floors."""
