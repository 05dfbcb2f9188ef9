"""Starting, watching, restarting and ending the training processes of runs."""
