"""What a dataset and a training would take, told before either is begun: sizes, hours, money, and what breaks first."""
