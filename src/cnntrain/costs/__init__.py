"""What a network costs before it is trained: parameters, multiply-adds, receptive fields, memory."""
