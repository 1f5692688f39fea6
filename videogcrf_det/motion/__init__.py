"""Motion from the frame before: optical flow, and maps moved along it."""
