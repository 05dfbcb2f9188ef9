"""What DINO, iBOT and DINOv2 are made of: networks, targets of class tokens and of masked patches."""
