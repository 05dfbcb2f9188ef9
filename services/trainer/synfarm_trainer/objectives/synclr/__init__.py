"""The SynCLR objective: multi-positive contrastive learning against an EMA teacher."""
