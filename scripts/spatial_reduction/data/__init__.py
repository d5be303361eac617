"""From raw pictures to one data set file."""
