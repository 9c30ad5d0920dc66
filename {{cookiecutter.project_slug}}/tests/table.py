"""A made-up table with features of every type, its rows perturbed, and models fitted on it."""

import numpy as np
from project import ROOT, load
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

fit, predictor, schema = load("training.fit"), load("model.predictor"), load("model.schema")
manifest, reference = load("model.manifest"), load("model.reference")
NULLABLE = ["length", "mass", "count", "wild", "island", "adult"]  # the last without a null
KINDS = {"length": "number", "island": "category", "mass": "number", "depth": "number"}
KINDS |= {"count": "integer", "site": "category", "rank": "integer"}
KINDS |= {"wild": "boolean", "adult": "boolean"}
FEATURES = [manifest.Feature(n, k, "", nullable=n in NULLABLE) for n, k in KINDS.items()]
SCHEMA = schema.Schema(FEATURES)
NUMBERS = [name for name, kind in KINDS.items() if kind != "category"]
TEXTS = ["island", "site"]
ODD = 0.08  # share of nulls in a nullable feature, and of unknown categories


def table(rows=400):
    """A batch to fit on, and targets of every kind."""
    random = np.random.default_rng(0)
    length, mass = random.normal(40, 5, rows).round(1), random.normal(4000, 800, rows).round(-1)
    depth, count = random.lognormal(1, 0.5, rows), random.integers(0, 12, rows)
    rank, wild, adult = random.integers(1, 5, rows), random.random(rows) < 0.5, np.arange(rows) % 3
    island = random.choice(["Biscoe", "Dream", "Torgersen"], rows, p=[0.5, 0.3, 0.2])
    site = random.choice([f"s{i}" for i in range(9)], rows, p=[0.3, 0.2, 0.2, 0.1, *[0.04] * 5])
    numbers = np.column_stack([length, mass, depth, count, rank, wild, adult > 0]).astype(float)
    score = (length - 40) / 5 + (mass - 4000) / 800 + depth / 3 + (island == "Dream") - count / 9
    score += random.normal(0, 0.5, rows)
    for i in (0, 1, 3, 5):
        numbers[random.random(rows) < ODD, i] = np.nan
    texts = [[None if random.random() < ODD else name for name in island.tolist()], site.tolist()]
    third = np.digitize(score, np.quantile(score, [0.4, 0.75]))
    targets = {"species": np.array(["Adelie", "Chinstrap", "Gentoo"])[third], "size": third * 10}
    targets |= {"big": score > 1, "sex": np.where(score > 0, "m", "f"), "price": score * 100}
    targets |= {
        "even": np.arange(rows) % 2,
        "young": np.floor(np.exp(score / 3)),
        "share": np.exp(score / 4),
    }
    return SCHEMA.batch(numbers, texts), targets


TABLE, TARGETS = table()


def perturbed(rows, seed):
    """Rows as the table has them and as it has not.

    Values of the table; midpoints between two of them, where trees cut numbers that no step
    scaled; values within and beyond the range; nulls, and categories that are not known.
    """
    random, numbers, names = np.random.default_rng(seed), [], []
    for feature in FEATURES:
        null = (random.random(rows) < ODD) & feature.nullable
        column = TABLE.columns[feature.name]
        values = np.unique(column[column == column].astype(str if feature.name in TEXTS else float))
        if feature.type == "category":
            drawn = np.where(random.random(rows) < ODD, "elsewhere", random.choice(values, rows))
            names.append(np.where(null, None, drawn.astype(object)).tolist())
            continue
        low, high = values[0], values[-1]
        ways = [random.choice(values, rows), random.choice((values[1:] + values[:-1]) / 2, rows)]
        ways += [random.uniform(low, high, rows), random.uniform(low / 9, high * 3, rows)]
        drawn = np.choose(random.integers(0, 1 if feature.type == "boolean" else 4, rows), ways)
        if feature.type == "number":
            far = [-1e6, 0.0, 1e9] if feature.nullable else [1e6, 1e-16]  # depth is positive
            drawn = np.where(random.random(rows) < 0.01, random.choice(far, rows), drawn)
        drawn = np.round(drawn) if feature.type == "integer" else drawn
        numbers.append(np.where(null, np.nan, drawn))
    return SCHEMA.batch(np.column_stack(numbers), names)


def fitted(target, *steps, choice="auto", device="cpu"):
    """A predictor of the steps, fitted on the table, with a manifest as training writes it."""
    data = reference.frame(TABLE)
    estimator = clone(make_pipeline(*steps) if len(steps) > 1 else steps[0])
    estimator.fit(data, TARGETS[target])
    classes = estimator.classes_.tolist() if hasattr(estimator, "classes_") else None
    described = fit.replace(
        manifest.read(ROOT / "models"),
        features=[fit.learn(f, data[f.name].to_numpy()) for f in FEATURES],
        baseline={f.name: fit.baseline(data[f.name].to_numpy()) for f in FEATURES},
        target=fit.Target(target, classes),
        task="classification" if classes else "regression",
        golden=[],
    )
    loaded = reference.Reference(lambda: estimator)
    return predictor.Predictor(described, loaded, choice, device=device)


def plan_of(model):
    return load("model.compiled").compile_estimator(model.reference, model.manifest)


def same(expected, answered, most=1e-12):
    """Equal labels, and equal numbers but for their last digits."""
    verdict = load("model.compiled.proof").compare(expected, answered)
    assert verdict.fault is None, verdict
    assert verdict.difference <= most
