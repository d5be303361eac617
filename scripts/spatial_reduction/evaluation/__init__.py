"""What trained models do on test images, by every protocol, and on new pictures."""
