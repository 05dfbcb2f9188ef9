"""The trainer's HTTP side: submission, progress, events and control of runs; it never loads torch."""
