"""What every wing needs: errors, events, files, plugins, retries and Sentinel-2 bands; imports no other wing."""
