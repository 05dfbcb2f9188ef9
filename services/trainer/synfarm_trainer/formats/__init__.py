"""A run's backbone in the forms that other tools load, each proven by features that agree before it is handed out."""
