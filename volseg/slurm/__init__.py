"""Jobs on a cluster: the script and its submission."""
