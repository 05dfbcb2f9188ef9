"""The report on a job's captions: bounded work however large the job is, for HTTP and for the dataset card."""
