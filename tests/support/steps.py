"""The steps, called with settings as keywords: tests vary one or two, and the models gather them."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from headwater.core.settings import Settings
from headwater.geo.settings import GridSettings
from headwater.imagery import composite as composite_module
from headwater.imagery import search as search_module
from headwater.imagery import select as select_module
from headwater.imagery.settings import CompositeSettings, SearchSettings, SelectSettings
from headwater.predict import step as predict_module
from headwater.predict.settings import PredictSettings
from headwater.project import budget as budget_module
from headwater.stac.settings import CatalogSettings, SigningSettings
from headwater.terrain import elevation as elevation_module
from headwater.terrain.settings import ElevationSettings
from headwater.waterways import backbone_step as backbone_module
from headwater.waterways.settings import BackboneSettings


def _with_settings(step: Callable[..., None], **models: type[Settings]) -> Callable[..., None]:
    @wraps(step)
    def call(*arguments: Any, **options: Any) -> None:
        settings = {}
        for argument, model in models.items():
            # A path that is an argument of the step may have the name of a setting.
            taken = set(step.__annotations__) - set(models)
            names = [name for name in model.model_fields if name in options and name not in taken]
            settings[argument] = model(**{name: options.pop(name) for name in names})
        step(*arguments, **settings, **options)

    return call


search = _with_settings(search_module.search, catalog=CatalogSettings, settings=SearchSettings)
select = _with_settings(select_module.select, settings=SelectSettings, signing=SigningSettings)
composite = _with_settings(composite_module.composite, settings=CompositeSettings, signing=SigningSettings)
elevation = _with_settings(elevation_module.elevation, settings=ElevationSettings, signing=SigningSettings)
predict = _with_settings(predict_module.predict, settings=PredictSettings)
backbone = _with_settings(backbone_module.backbone, settings=BackboneSettings)
plan_all = _with_settings(budget_module.plan_all, grid=GridSettings)
