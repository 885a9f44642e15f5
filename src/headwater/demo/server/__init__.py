"""The catalog of a demo planet, served over HTTP: `serve` (STAC API, assets, tokens) and `catalog_contents`.

It needs the extra `demo`.
"""

from headwater.core.extras import require_extra

require_extra("demo", "starlette", "uvicorn", purpose="The demo's catalog")
