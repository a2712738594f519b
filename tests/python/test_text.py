"""Texts: rows of the command are those of scikit-learn's vectorizer, its models answer texts in Python too, and
scikit-learn's vectorizers go straight into the models."""

import csv
import os
import pathlib
import subprocess

import numpy as np
import pytest
from fast_kmeans import FastKMeansClassifier, load
from sklearn.datasets import load_svmlight_file
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

ROOT = pathlib.Path(__file__).resolve().parents[2]
with open(ROOT / "examples/questions.csv", encoding="utf-8", newline="") as file:
    ROWS = list(csv.DictReader(file))
TEXTS, TOPICS = [row["question"] for row in ROWS], [row["topic"] for row in ROWS]
FOREIGN = [
    "Übergröße im CAFÉ, café!",
    "ПРИВЕТ мир — привет, Мир!",
    "ΑΒΓΔ αβγδ ένα ΈΝΑ",
    "snake_case 42 x 4 don't «quoted» e-mail a.b.c naïve",
    "",
    "... — !",
]


@pytest.fixture(scope="module")
def fkm():
    found = [os.environ.get("FKM_COMMAND"), *sorted(map(str, ROOT.glob("build/*/cli/fkm")))]
    found = [path for path in found if path and pathlib.Path(path).exists()]
    if not found:
        pytest.skip("no command fkm is built")

    def run(*arguments):
        return subprocess.run([found[0], *map(str, arguments)], check=True, capture_output=True, text=True).stdout

    return run


def table(path, texts, topics):
    with open(path, "w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["question", "topic"])
        writer.writerows(zip(texts, topics))
    return path


@pytest.mark.parametrize("options, settings", [
    ((), {"sublinear_tf": True}),
    (("--text-counts", "plain"), {}),
    (("--text-ngrams", "2", "--text-min-rows", "2"), {"sublinear_tf": True, "ngram_range": (1, 2), "min_df": 2}),
    (("--text-ngrams", "3"), {"sublinear_tf": True, "ngram_range": (1, 3)}),
])
def test_rows_are_those_of_scikit_learn(fkm, tmp_path, options, settings):
    texts = TEXTS + FOREIGN + FOREIGN[::-1]
    path = table(tmp_path / "texts.csv", texts, ["1"] * len(texts))
    fkm("convert", path, tmp_path / "texts.svm", "--target", "topic", "--text", "question", *options)
    wanted = TfidfVectorizer(**settings).fit_transform(texts)
    found, _ = load_svmlight_file(tmp_path / "texts.svm", n_features=wanted.shape[1], zero_based=False)
    assert found.shape == wanted.shape
    assert abs(found - wanted).max() < 1e-6


def test_models_of_the_command_answer_texts(fkm, tmp_path):
    path = table(tmp_path / "texts.csv", TEXTS, TOPICS)
    fkm("fit", "--task", "classifier", "--data", path, "--target", "topic", "--text", "question", "--k-init", 1,
        "--text-ngrams", 2, "--model", tmp_path / "model.fkm")
    wanted = fkm("predict", "--model", tmp_path / "model.fkm", "--data", path).split()[1:]
    model = load(tmp_path / "model.fkm")
    for texts in (TEXTS, np.array(TEXTS), np.array(TEXTS, object), tuple(TEXTS)):
        assert list(model.predict(texts)) == wanted
    assert model.predict_proba(TEXTS[:3]).shape == (3, 3)
    assert model.score(TEXTS, TOPICS) > 0.9
    assert model.finetune(TEXTS, TOPICS, epochs=1, eval_set=(TEXTS, TOPICS)).score(TEXTS, TOPICS) > 0.9
    model.save(tmp_path / "again.fkm")
    np.testing.assert_array_equal(load(tmp_path / "again.fkm").predict(TEXTS), model.predict(TEXTS))
    with pytest.raises(TypeError, match="text 1 is a"):
        model.predict(["one", 2])


def test_other_models_refuse_texts():
    rows = TfidfVectorizer().fit_transform(TEXTS)
    model = FastKMeansClassifier(k_init=1).fit(rows, TOPICS)
    with pytest.raises(ValueError):
        model.predict(TEXTS)


def test_vectorizers_go_straight_into_the_models():
    model = make_pipeline(TfidfVectorizer(sublinear_tf=True), FastKMeansClassifier(k_init=1)).fit(TEXTS, TOPICS)
    assert model.score(TEXTS, TOPICS) > 0.9
    assert model.predict(["has the transfer to my landlord arrived?"])[0] == "transfer"
