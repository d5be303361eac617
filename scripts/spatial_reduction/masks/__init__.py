"""What a reduction step is: rank pixels, shrink masks, apply them to images."""
