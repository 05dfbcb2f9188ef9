"""From a job to the prompts of its captions: example pools, the prompt's layout, the keyed draws."""
