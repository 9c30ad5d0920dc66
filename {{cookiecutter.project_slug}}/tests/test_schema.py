"""Rows -> columns: every fault is named, and missing is missing however it is written."""

import numpy as np
import pytest
from project import load

manifest, schema = load("model.manifest"), load("model.schema")
SCHEMA = schema.Schema(
    [
        manifest.Feature("mass", "number", "", nullable=True, minimum=1.0, maximum=9.0),
        manifest.Feature("count", "integer", ""),
        manifest.Feature("wild", "boolean", "", nullable=True),
        manifest.Feature("island", "category", "", nullable=True, categories=["Biscoe", "Dream"]),
    ]
)
GOOD = {"mass": 2.5, "count": 3, "wild": True, "island": "Dream"}


def faults(*rows):
    with pytest.raises(schema.InputError) as caught:
        SCHEMA.read(rows)
    return [tuple(fault) for fault in caught.value.faults]


def test_columns_have_the_dtypes_that_training_had():
    batch = SCHEMA.read([GOOD, {"count": 4.0}])
    assert len(batch) == 2
    assert [batch.columns[name].dtype.kind for name in GOOD] == ["f", "f", "f", "O"]
    assert batch.columns["count"].tolist() == [3.0, 4.0]
    assert batch.columns["wild"][0] == 1.0
    assert batch.columns["island"][0] == "Dream"
    for name in ("mass", "wild", "island"):
        assert np.isnan(batch.columns[name][1])


@pytest.mark.parametrize("missing", [{}, {"mass": None, "island": None}, {"mass": float("nan")}])
def test_null_nan_and_absent_are_one_thing(missing):
    batch = SCHEMA.read([{"count": 1, **missing}])
    # The very object: scikit-learn's SimpleImputer looks for NaN and would overlook None.
    assert batch.columns["island"][0] is np.nan
    assert np.isnan(batch.columns["mass"][0])


@pytest.mark.parametrize(
    ("feature", "value", "words"),
    [
        ("mass", "heavy", "must be a number, got a string"),
        ("mass", True, "must be a number, got a boolean"),
        ("mass", [1.0], "must be a number, got an array"),
        ("mass", float("inf"), "finite"),
        ("mass", 10**400, "finite"),
        ("count", None, "must not be null"),
        ("count", 1.5, "must be an integer, got a number with a fraction"),
        ("count", 2**53 + 2, "2**53"),
        ("wild", 1, "must be true or false, got a number"),
        ("island", 7, "must be a string, got a number"),
        ("island", {}, "must be a string, got an object"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(feature, value, words):
    [(row, name, msg)] = faults(GOOD, {**GOOD, feature: value})
    assert (row, name) == (1, feature)
    assert words in msg


def test_all_faults_of_all_rows_are_listed():
    found = faults({"mass": "x", "wild": 0}, GOOD, None, {**GOOD, "isle": "Dream"})
    assert [(row, feature) for row, feature, _ in found] == [
        (0, "mass"),
        (0, "count"),
        (0, "wild"),
        (2, None),
        (3, "isle"),
    ]
    assert "did you mean 'island'?" in found[-1][2]


def test_what_training_never_saw_is_flagged_and_not_refused():
    batch = SCHEMA.read([GOOD, {**GOOD, "mass": 0.5}, {**GOOD, "mass": 10, "island": "Torgersen"}])
    assert [tuple(flag) for flag in batch.flags] == [
        (1, "mass", "below_minimum"),
        (2, "mass", "above_maximum"),
        (2, "island", "unknown_category"),
    ]


def test_no_rows_make_empty_columns():
    batch = SCHEMA.read([])
    assert len(batch) == 0
    assert all(len(column) == 0 for column in batch.columns.values())
