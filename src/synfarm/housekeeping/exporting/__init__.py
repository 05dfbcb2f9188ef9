"""`synfarm export`: a job as a plain WebDataset, for tools that know nothing of synfarm."""
