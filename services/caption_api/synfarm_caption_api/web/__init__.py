"""The web page: jobs, galleries, workers and runs, rendered on the server, kept fresh by a little plain JavaScript."""
