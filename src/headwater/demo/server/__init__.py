"""The catalog of a demo planet, served over HTTP. It needs the extra `demo`."""

from headwater.core.extras import require_extra

require_extra("demo", "starlette", "uvicorn", purpose="The demo's catalog")
