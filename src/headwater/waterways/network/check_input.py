"""The columns of a network to be checked, however a format or another program stores them."""

from __future__ import annotations

import re
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from headwater.core.errors import InputError
from headwater.geo.features import some

NO_VALUE = -1
"""Stands for a missing integer."""

_TRUE, _FALSE = {"true", "t", "yes", "y", "1", "1.0"}, {"false", "f", "no", "n", "0", "0.0", "", "none", "null", "nan"}
_BRACKETS = "[](){}"
_SEPARATORS = re.compile(r"[,;|\s]+")
_NO_IDS = {"", "none", "null", "nan"}
_NHDPLUS_SECOND_ARM = 2
_LARGEST_EXACT = 2.0**53


def ids_of(table: pd.DataFrame, column: str) -> NDArray[np.int64]:
    """Return a column of ids, which every row must have.

    Raises
    ------
    InputError
        A row has no id, or one that is not an integer.
    """
    values = table[column]
    missing = values.isna().to_numpy()
    if missing.any():
        raise InputError(
            f"Column {column} has rows without a value: {some(np.flatnonzero(missing))} (counted from 0).",
            "Give each segment an id, and -1 where it has no target.",
        )
    return integers_of(table, column)


def integers_of(table: pd.DataFrame, column: str, ids: NDArray[Any] | None = None) -> NDArray[np.int64]:
    """Return a column of integers, stored as numbers or text; NO_VALUE where a row has none.

    Parameters
    ----------
    table : DataFrame
        The network.
    column : str
        Name of the column.
    ids : (n,) array, optional
        Of the segments, for messages; rows are counted from 0 without.

    Raises
    ------
    InputError
        A value is not an integer.
    """
    values = table[column]
    if pd.api.types.is_integer_dtype(values.dtype) and not values.isna().any():
        return values.to_numpy(np.int64)
    empty = values.isna().to_numpy()
    result = np.full(len(values), NO_VALUE, dtype=np.int64)
    numbers = _numbers(values)
    exact = ~empty & (np.abs(numbers) < _LARGEST_EXACT) & (numbers == np.round(numbers))
    result[exact] = numbers[exact].astype(np.int64)
    # Text keeps more digits than a double has.
    for row in np.flatnonzero(~exact & ~empty):
        text = str(values.iloc[row]).strip()
        if not re.fullmatch(r"[+-]?\d{1,18}", text) or not isinstance(values.iloc[row], str | int):
            where = f"row {row}" if ids is None else f"segment {ids[row]}"
            raise InputError(
                f"Column {column} contains {_plain(values.iloc[row])!r} in {where}, which is not an integer.",
                "Number the segments with integers, or check another table.",
            )
        result[row] = int(text)
    return result


def numbers_of(table: pd.DataFrame, column: str, ids: NDArray[Any]) -> NDArray[np.float64]:
    """Return a column of numbers, stored as numbers or text; NaN where a row has none.

    Raises
    ------
    InputError
        A value is not a number.
    """
    numbers = _numbers(table[column])
    wrong = np.flatnonzero(np.isnan(numbers) & table[column].notna().to_numpy())
    if len(wrong):
        shown = _plain(table[column].iloc[wrong[0]])
        raise InputError(
            f"Column {column} contains {shown!r} in {some(ids[wrong])}, which is not a number.",
            "Give numbers, or leave the column out.",
        )
    return numbers


def booleans_of(table: pd.DataFrame, column: str, ids: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a column of booleans, stored as such, as 0 and 1 or as text; False where a row has no value.

    In `divergence`, a 2 makes it NHDPlus' column of that name: 2 is the second arm, 1 the main path, 0 neither.

    Raises
    ------
    InputError
        A value is none of these.
    """
    values = table[column]
    if pd.api.types.is_bool_dtype(values.dtype) and not values.isna().any():
        return values.to_numpy(bool)
    text = values.astype(object).where(values.notna(), "").astype(str).str.strip().str.lower()
    numbers = _numbers(text)
    if column == "divergence" and (numbers == _NHDPLUS_SECOND_ARM).any() and set(np.unique(numbers)) <= {0, 1, 2}:
        return np.asarray(numbers == _NHDPLUS_SECOND_ARM)
    wrong = np.flatnonzero(~text.isin(_TRUE | _FALSE).to_numpy())
    if len(wrong):
        shown = _plain(values.iloc[wrong[0]])
        raise InputError(
            f"Column {column} contains {shown!r} in {some(ids[wrong])}, which is neither true nor false.",
            "Give true and false, or leave the column out.",
        )
    return text.isin(_TRUE).to_numpy(bool)


def id_lists_of(table: pd.DataFrame, column: str, ids: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many ids each row has, and all of them one after the other.

    Lists, or text such as "[1, 2]", "{1,2}", "1;2" or "[1.0, 2.0]"; a row without a value has none.

    Raises
    ------
    InputError
        A row has something else.
    """
    values = table[column]
    if isinstance(values.array, pd.arrays.ArrowExtensionArray) and not pd.api.types.is_string_dtype(values.dtype):
        lists = pa.chunked_array(pa.array(values.array)).combine_chunks()
        if pa.types.is_list(lists.type) and pa.types.is_integer(lists.type.value_type):
            lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
            return lengths.astype(np.int64), lists.flatten().to_numpy(zero_copy_only=False).astype(np.int64)
    stated = []
    for row, value in enumerate(values):
        try:
            stated.append(_id_list(value))
        except (ValueError, TypeError, OverflowError) as error:
            raise InputError(
                f"Column {column} contains {value!r} in {ids[row]}, which is not a list of ids.",
                'Give lists of integers, or text such as "[1, 2]".',
            ) from error
    flat = np.concatenate([np.zeros(0, dtype=np.int64), *stated])
    return np.array([len(each) for each in stated], dtype=np.int64), flat


def single_lines(shapes: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Return lines of multi-part lines with one part, or with parts that meet end to end, and how many the latter are.

    GDAL writes all lines of a layer as multi-part lines where one of them is.
    """
    several = np.flatnonzero((shapely.get_type_id(shapes) == 5) & ~shapely.is_empty(shapes))
    if not len(several):
        return shapes, 0
    shapes = shapes.copy()
    alone = several[shapely.get_num_geometries(shapes[several]) == 1]
    shapes[alone] = shapely.get_geometry(shapes[alone], 0)
    parts = np.setdiff1d(several, alone)
    merged = shapely.line_merge(shapes[parts])
    joined = shapely.get_type_id(merged) == 1
    shapes[parts[joined]] = merged[joined]
    return shapes, int(joined.sum())


def in_degrees(shapes: NDArray[Any], crs: Any) -> NDArray[Any] | None:
    """Return shapes in EPSG:4326; None where there is no CRS and the coordinates are no degrees."""
    if crs is None:
        west, south, east, north = shapely.total_bounds(shapes) if len(shapes) else (0, 0, 0, 0)
        return None if max(-west, east) > 360 or max(-south, north) > 90 else shapes
    return np.asarray(gpd.GeoSeries(shapes, crs=crs).to_crs("EPSG:4326").to_numpy(), dtype=object)


def _plain(value: Any) -> Any:
    """Return numpy's numbers as Python's, for a message."""
    return value.item() if isinstance(value, np.generic) else value


def _numbers(values: pd.Series[Any]) -> NDArray[np.float64]:
    return np.asarray(pd.to_numeric(values, errors="coerce").to_numpy(np.float64, na_value=np.nan))


def _id_list(value: Any) -> NDArray[np.int64]:
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return np.zeros(0, dtype=np.int64)
    if isinstance(value, str):
        inside = value.strip().strip(_BRACKETS)
        parts = [part.strip("\"'") for part in _SEPARATORS.split(inside.strip()) if part]
    else:
        parts = [str(part) for part in np.atleast_1d(np.asarray(value, dtype=object))]
    return np.array([_id(part) for part in parts if part.lower() not in _NO_IDS], dtype=np.int64)


def _id(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if not number.is_integer() or abs(number) >= _LARGEST_EXACT:
            raise
        return int(number)
