"""Care for a store over weeks: verify what is there, remove what nobody needs, export what others want to read.

Everything here talks to the object store alone, and believes nothing but it: no Redis, no service, no clock of its own.
"""
