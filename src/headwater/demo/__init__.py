"""The demo planet: a seeded landscape that looks to the pipeline like the real sources, and its catalog.

The modules, in the order the data meets them:

- `build`: makes one planet as files in a folder.
- `planet_parameters`: relief, climate, geology, land cover and weather of a planet, drawn from its seed.
- `planet_grid`: window, cells, degree tiles, UTM zones, MGRS tiles and sun position.
- `landscape`: coast, uplift, erosion, then lakes, ponds and swamps: the true terrain.
- `erosion`: flow routing and stream-power erosion kernels.
- `rock_relief`: fractal noise, layered and jointed rock, floodplains.
- `lakes`: dams valleys to make lakes and reservoirs.
- `drainage`: true channels with flow regime and Strahler order, and the coarser backbone.
- `linear_features`: channel courses and widths, canals, roads.
- `braids`: side threads of braided rivers.
- `land_cover`: water, banks, forest, fields, roads, rock and moisture on the truth grid.
- `fields_and_towns`: rectangular fields, and towns of blocks and streets.
- `acquisitions`: dates, processing baselines, satellites, sun and cloudiness of the scenes.
- `clouds`: clouds, their shadows and the scene classification (SCL).
- `resampling`: carries fields of the truth grid to the grids of scenes.
- `sentinel2_scenes`: reflectance and digital numbers of Sentinel-2-like scenes.
- `glo30`: elevation tiles like those of Copernicus GLO-30.
- `vector_tables`: TDX-Hydro-like streams and catchments, NHD-like labels, the truth, the basin polygon.
- `stac_items`: STAC items and collections like the Planetary Computer's.
- `server`: serves planets over HTTP as a STAC API with tokens.
"""
