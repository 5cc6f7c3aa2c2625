"""What a product is, how vectors are searched, reviewed, released and measured, the command; TFX in `local` alone."""
