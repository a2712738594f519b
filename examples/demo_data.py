"""demo_data.py FOLDER — writes scikit-learn's bundled data sets as files that fkm reads.

digits (8 x 8 pixels, ten classes) and diabetes (ten measurements, progression after a year) as CSV; every fourth
row is kept for the test. Tags are generated, because scikit-learn bundles no multi-label set: libsvm text.

SPDX-License-Identifier: Apache-2.0"""
import pathlib
import sys

import numpy
from sklearn import datasets


def write_csv(path, header, *columns):
    numpy.savetxt(path, numpy.column_stack(columns), delimiter=",", header=",".join(header), comments="", fmt="%.9g")


def write_tags(path, rows, tags):
    with open(path, "w") as file:
        for row, has in zip(rows, tags):
            words = " ".join(f"{j + 1}:{row[j]:g}" for j in numpy.flatnonzero(row))
            file.write(f"{','.join(str(tag) for tag in numpy.flatnonzero(has))} {words}\n")


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, target in (("digits", "digit"), ("diabetes", "progression")):
        data = getattr(datasets, f"load_{name}")()
        held_out = numpy.arange(len(data.target)) % 4 == 3
        header = [*data.feature_names, target]
        write_csv(folder / f"{name}_train.csv", header, data.data[~held_out], data.target[~held_out])
        write_csv(folder / f"{name}_test.csv", header, data.data[held_out], data.target[held_out])
    digits = datasets.load_digits()
    write_csv(folder / "digits_pixels.csv", digits.feature_names, digits.data)

    rows, tags = datasets.make_multilabel_classification(3000, 60, n_classes=8, n_labels=3, allow_unlabeled=False,
                                                         random_state=0)
    write_tags(folder / "tags_train.svm", rows[:2250], tags[:2250])
    write_tags(folder / "tags_test.svm", rows[2250:], tags[2250:])


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
