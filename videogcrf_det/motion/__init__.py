"""Where things were in the frame before: optical flow, and maps moved along it."""
