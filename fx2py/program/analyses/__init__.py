"""What is known of a Program without changing it: for the passes (aliasing, types) and for the manifest."""
