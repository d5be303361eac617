"""What every job rests on: errors, the log, files written whole, devices, determinism."""
