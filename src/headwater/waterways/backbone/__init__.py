"""The stream network that new waterways join: TDX-Hydro's, or one derived from elevation."""
