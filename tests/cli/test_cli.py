"""The command line from end to end, on small tables and images."""

import html
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sinkgen import DPSinkhornGenerator, PrivacyLedger, Schema

pytest.importorskip("typer")
Image = pytest.importorskip("PIL.Image")

from typer.testing import CliRunner  # noqa: E402

from sinkgen.cli import labels  # noqa: E402
from sinkgen.cli import model as models  # noqa: E402
from sinkgen.cli.app import app  # noqa: E402
from sinkgen.cli.draws import example_output  # noqa: E402

SECRET = "Rumpelstiltskin"  # stands in cells; must stand in no message


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    assert SECRET not in result.stderr
    if code:
        assert not result.stdout
        assert result.stderr.count("\n") == 1, result.stderr
    return result


@pytest.fixture(scope="module")
def people():
    random = np.random.default_rng(0)
    n = 400
    earns = random.integers(2, size=n)
    frame = pd.DataFrame({
        "age": random.integers(18, 80, n),
        "score": random.normal(earns, 0.3, n).round(3),
        "earns": np.array(["no", "yes"])[earns],
        "city": random.choice(["Oslo", "Rome", "Lima"], n),
        "member": random.random(n) < 0.5,
        "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(900, size=n), unit="D"),
    })  # fmt: skip
    frame["gain"] = frame["age"].astype("Int64").mask(frame["age"] < 30)
    return frame


@pytest.fixture(scope="module")
def workplace(people, tmp_path_factory):
    """A folder with a table, its drafted schema, and a model of it."""
    folder = tmp_path_factory.mktemp("work")
    people.to_csv(folder / "data.csv", index=False)
    people.to_parquet(folder / "data.parquet", index=False)
    run("schema", folder / "data.csv", "-o", folder / "schema.json")
    fit = ("--schema", folder / "schema.json", "--target", "earns", "--epsilon", 50, "-q")
    run("fit", folder / "data.csv", *fit, "-o", folder / "model")
    return folder


# --- Tables ----------------------------------------------------------------------------------------------------------


def test_draft_reads_kinds_bounds_and_categories_and_says_so(workplace):
    result = run("schema", workplace / "data.csv")
    draft = json.loads(result.stdout)
    assert draft == json.loads((workplace / "schema.json").read_text())
    assert draft["age"] == {"kind": "integer", "bounds": [18, 79]}
    assert draft["earns"] == {"kind": "category", "values": ["no", "yes"]}
    assert draft["member"] == {"kind": "boolean"}
    assert draft["since"] == {"kind": "datetime", "bounds": ["2020-01-01", "2023-01-01"], "step": 86400.0}
    assert draft["gain"]["nullable"]
    assert draft["score"]["bounds"][0] <= -0.5
    assert draft["score"]["bounds"][1] >= 1.5
    assert "taken as public" in result.stderr
    assert "every category that occurs, in: earns, city" in result.stderr
    assert Schema.from_json(result.stdout)["age"].bounds == (18, 79)


def test_parquet_and_csv_of_one_table_give_one_draft(workplace):
    texts = [run("schema", workplace / f"data.{suffix}").stdout for suffix in ("csv", "parquet")]
    assert texts[0] == texts[1]


def test_draft_tells_of_texts_that_seem_to_be_numbers(tmp_path):
    (tmp_path / "prices.csv").write_text("\n".join(["price;to", *(f"{place},5;me" for place in range(30))]))
    told = run("schema", tmp_path / "prices.csv").stderr
    assert "LOOK: column 'price' holds numbers with commas: say --decimal ," in " ".join(told.split())
    assert "LOOK" not in run("schema", tmp_path / "prices.csv", "--decimal", ",").stderr


def test_draft_lists_no_names(tmp_path):
    frame = pd.DataFrame({"name": [f"{SECRET} {k}" for k in range(200)], "code": ["007"] * 200})
    frame.to_csv(tmp_path / "names.csv", index=False)
    result = run("schema", tmp_path / "names.csv")
    assert json.loads(result.stdout)["name"] == {"kind": "category"}
    assert json.loads(result.stdout)["code"] == {"kind": "category", "values": ["007"]}
    assert "Not listed, too many categories (a fit learns the frequent ones privately): name" in result.stderr


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_sampled_table_is_like_the_one_fitted(workplace, people, suffix, tmp_path):
    path = tmp_path / f"synth.{suffix}"
    run("sample", workplace / "model", "-n", 300, "-o", path, "--seed", 1)
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet, "tsv": lambda path: pd.read_csv(path, sep="\t")}[suffix]
    synthetic = read(path)
    assert list(synthetic) == list(people)
    assert len(synthetic) == 300
    assert set(synthetic["earns"]) == {"no", "yes"}
    assert synthetic["age"].between(18, 79).all()
    assert synthetic["age"].dtype == np.int64
    assert synthetic["gain"].isna().mean() == pytest.approx(people["gain"].isna().mean(), abs=0.15)
    assert abs(synthetic["score"].groupby(synthetic["earns"]).mean() - [0, 1]).max() < 0.3
    if suffix == "parquet":
        assert synthetic["since"].dtype.kind == "M"
        assert synthetic["member"].dtype == bool


def test_samples_go_to_stdout_and_follow_seed_labels_and_conditions(workplace):
    def rows(*arguments):
        return pd.read_csv(pd.io.common.StringIO(run("sample", workplace / "model", "-n", 40, *arguments).stdout))

    assert rows("--seed", 3).equals(rows("--seed", 3))
    assert not rows().equals(rows())
    assert set(rows("--where", "earns=yes")["earns"]) == {"yes"}
    assert rows("--label", "yes", "--label", "no")["earns"].tolist() == ["yes", "no"] * 20
    some = rows("--where", "age=30..40", "--where", "city=Oslo", "--where", "city=Rome", "--where", "member=true")
    assert some["age"].between(30, 40).all()
    assert set(some["city"]) == {"Oslo", "Rome"}
    assert some["member"].all()
    assert rows("--where", "age=40..")["age"].min() >= 40
    assert rows("--where", "since=..2021-02-01")["since"].max() < "2021-02-02"
    assert rows("--where", "gain=")["gain"].isna().all()
    dates = rows("--where", "since=2021-01-01..2021-02-01")["since"]
    assert dates.between("2021-01-01", "2021-02-01").all()


def test_statement_as_text_and_as_json(workplace):
    text = run("privacy", workplace / "model").stdout
    spent = DPSinkhornGenerator.load(workplace / "model").privacy_spent()
    assert text == f"{spent}\n"
    assert json.loads(run("privacy", workplace / "model", "--json").stdout) == json.loads(json.dumps(spent.to_dict()))
    board = run("privacy", workplace / "model", "--for-board").stdout
    assert board.startswith("# Privacy of synthetic data")
    assert text.splitlines()[0].rstrip(".") in board
    assert "give one of them" in run("privacy", workplace / "model", "--for-board", "--json", code=1).stderr


def test_what_is_poorly_known_is_told_by_fit_statement_and_page_alike(workplace, people, tmp_path):
    people[:60].to_csv(tmp_path / "few.csv", index=False)
    fit = run("fit", tmp_path / "few.csv", "--epsilon", 0.5, "-q", "-o", tmp_path / "m")
    remarks = DPSinkhornGenerator.load(tmp_path / "m").schema_.remarks
    assert remarks
    assert f"sinkgen: warning: {remarks[0]}" in fit.stderr
    statement = run("privacy", tmp_path / "m").stdout
    run("report", tmp_path / "m", "--real", tmp_path / "few.csv", "-o", tmp_path / "page.html")
    page = html.unescape((tmp_path / "page.html").read_text(encoding="utf-8"))
    for remark in remarks:
        assert f"- {remark}\n" in statement
        assert f"<li>{remark}</li>" in page


def test_fit_tells_what_was_spent_and_what_to_do_next(workplace, tmp_path):
    result = run("fit", workplace / "data.csv", "--epsilon", 2, "-o", tmp_path / "m")
    assert not result.stdout
    lines = [line for line in result.stderr.splitlines() if not line.startswith("sinkgen: warning: ")]
    assert "public fits" in lines[0]
    assert "40/40" in lines[0]
    assert "of 2 spent" in lines[0]
    assert lines[1].endswith(
        "public with the model: the kinds of the columns age, score, earns, city, member, since, gain, "
        "that no text is nearly all numbers or dates"
    )
    assert lines[-2].startswith("Differential privacy: epsilon = 2")
    assert lines[-1] == f"Draw records: sinkgen sample {tmp_path / 'm'} -n 1000 -o synth.csv"
    assert list(models.load(tmp_path / "m").form.names)[2] == "earns"  # without a target: a column like the others


def test_reports_of_a_model_without_target(workplace, tmp_path):
    run("fit", workplace / "data.csv", "--epsilon", 20, "-q", "-o", tmp_path / "m")
    data = ("--real", workplace / "data.csv", "-o", tmp_path / "page.html", "--force")
    run("report", tmp_path / "m", *data)
    assert "no models were trained" in (tmp_path / "page.html").read_text(encoding="utf-8")
    run("report", tmp_path / "m", *data, "--target", "score")
    assert "R²" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_labels_of_numbers_come_back_as_numbers(tmp_path):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"x": random.normal(size=200).round(2), "grade": random.integers(1, 4, 200)})
    frame.to_csv(tmp_path / "data.csv", index=False)
    options = ("--target", "grade", "--classes", "1,2,3", "--epsilon", 9, "-q", "-o", tmp_path / "m")
    run("fit", tmp_path / "data.csv", *options)
    run("sample", tmp_path / "m", "--label", 2, "-o", tmp_path / "synth.parquet")
    assert pd.read_parquet(tmp_path / "synth.parquet")["grade"].tolist() == [2] * 100


def test_cells_that_no_declaration_covers_stop_nothing(tmp_path):
    rows = ["1,Oslo,3,yes", f"2,{SECRET},4,no", f"{SECRET},,x,maybe", ",Rome,9999999999999999999,no"] * 30
    (tmp_path / "data.csv").write_text("a;b;c;d\n".replace(";", ",") + "\n".join(rows))
    schema = {
        "a": {"kind": "float", "bounds": [0, 3], "nullable": True},
        "b": {"values": ["Oslo", "Rome"]},
        "c": {"values": [3, 4]},
        "d": {"kind": "boolean", "nullable": True},
    }
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    run("fit", tmp_path / "data.csv", "--schema", tmp_path / "schema.json", "--epsilon", 20, "-q", "-o", tmp_path / "m")
    synthetic = pd.read_csv(pd.io.common.StringIO(run("sample", tmp_path / "m").stdout))
    assert set(synthetic["b"]) == {"Oslo", "Rome"}
    assert set(synthetic["c"]) == {3, 4}
    assert synthetic["a"].isna().any()


def test_validate_tells_what_does_not_fit_and_says_so_by_its_exit_code(workplace, tmp_path):
    schema = ("--schema", workplace / "schema.json")
    assert "age: int64, fits" in run("validate", workplace / "data.csv", *schema).stdout
    text = (workplace / "data.csv").read_text().replace("Oslo", "oslo")
    (tmp_path / "data.csv").write_text(text)
    arguments = [str(argument) for argument in ("validate", tmp_path / "data.csv", *schema)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert re.search(r"city: .*none of its values: 'oslo' \(\d+\)", result.stdout)
    assert result.stderr == f"sinkgen: {tmp_path / 'data.csv'} does not fit {workplace / 'schema.json'}\n"


def test_dates_and_numbers_come_back_as_they_are_written(tmp_path):
    days = np.random.default_rng(0).integers(0, 60, 600)
    dates = pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(days, unit="D")).dt.strftime("%d.%m.%Y")
    paid = pd.Series(days / 4).map("{:.2f}".format).str.replace(".", ",")
    pd.DataFrame({"day": dates, "paid": paid.mask(days < 9, "NA")}).to_csv(tmp_path / "data.csv", sep=";", index=False)
    schema = {"day": {"format": "%d.%m.%Y"}, "paid": {"decimal": ",", "step": 0.01, "nullable": True}}
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    run("fit", tmp_path / "data.csv", "--schema", tmp_path / "schema.json", "--epsilon", 20, "-q", "-o", tmp_path / "m")
    drawn = pd.read_csv(pd.io.common.StringIO(run("sample", tmp_path / "m", "-n", 300).stdout), dtype=str)
    assert drawn["day"].isin(set(dates)).mean() > 0.95
    assert drawn["paid"].dropna().str.fullmatch(r"\d+,\d\d").all()
    assert drawn["paid"].isna().mean() == pytest.approx((days < 9).mean(), abs=0.1)
    run("report", tmp_path / "m", "--real", tmp_path / "data.csv", "-o", tmp_path / "page.html")


def test_report_of_a_table_names_the_target_and_what_was_spent(workplace, people, tmp_path):
    people[:150].to_parquet(tmp_path / "unseen.parquet")
    data = ("--real", workplace / "data.csv", "--test", tmp_path / "unseen.parquet")
    result = run("report", workplace / "model", *data, "-o", tmp_path / "report.html", "--seed", 0)
    assert "for those who may see them" in result.stderr
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Synthetic data of model" in page
    assert "epsilon = 50" in page
    assert "to predict earns" in page
    assert re.search(r"differ by \d", page)
    for name in people:
        assert f"<h3>{name}</h3>" in page
    run("report", workplace / "model", *data, "-o", tmp_path / "report.html", code=1)
    run("report", workplace / "model", *data, "-o", tmp_path / "report.html", "--force", "--target", "age")
    assert "to predict age" in (tmp_path / "report.html").read_text(encoding="utf-8")


SCRIPTS = {
    "latin, semicolons and commas": (
        {"sep": ";", "decimal": ",", "encoding": "latin-1"}, ("--encoding", "latin-1", "--decimal", ","), "data.csv",
    ),
    "tabs in a csv": ({"sep": "\t"}, ("--separator", "tab"), "data.csv"),
    "carets": ({"sep": "^"}, ("--separator", "^"), "data.csv"),
    "zipped": ({"compression": "gzip"}, (), "data.csv.gz"),
    "zipped tabs": ({"sep": "\t", "compression": "gzip"}, (), "data.tsv.gz"),
    "utf-16": ({"encoding": "utf-16"}, ("--encoding", "utf-16"), "data.csv"),
    "with its index": ({"index": True}, ("--drop", "Unnamed: 0"), "data.csv"),
}  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
def test_tables_are_read_however_they_are_written(name, people, tmp_path):
    written, options, file = SCRIPTS[name]
    table = people.assign(city=people["city"].replace("Lima", "K\u00f6ln"))
    table.to_csv(tmp_path / file, **{"index": False, **written})
    table.to_csv(tmp_path / "plain.csv", index=False)
    drafts = [run("schema", tmp_path / path, *more).stdout for path, more in ((file, options), ("plain.csv", ()))]
    assert drafts[0] == drafts[1]
    assert "K\u00f6ln" in drafts[0]


def test_a_folder_of_parquet_files_and_columns_left_out(people, tmp_path):
    for city, part in people.groupby("city"):
        (tmp_path / "data" / f"city={city}").mkdir(parents=True)
        part.drop(columns="city").to_parquet(tmp_path / "data" / f"city={city}" / "part.parquet", index=False)
    (tmp_path / "schema.json").write_text('{"age": {"bounds": [18, 80]}, "score": {"bounds": [-2, 3]}}')
    options = ("--schema", tmp_path / "schema.json", "--drop", "gain", "--drop", "score", "--epsilon", 20, "-q")
    run("fit", tmp_path / "data", *options, "-o", tmp_path / "m")
    run("sample", tmp_path / "m", "-n", 50, "-o", tmp_path / "synth.csv.gz")
    drawn = pd.read_csv(tmp_path / "synth.csv.gz")
    assert set(drawn) == set(people) - {"gain", "score"}
    assert set(drawn["city"]) <= {*people["city"], "other"}
    assert example_output(tmp_path / "data") == "synth.parquet"
    run("report", tmp_path / "m", "--real", tmp_path / "data", "-o", tmp_path / "page.html")


# --- Images and arrays -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(digits, tmp_path_factory):
    """Digits as an .npz and as PNGs in a folder a label."""
    folder = tmp_path_factory.mktemp("pictures")
    X, y = (digits[0][:300] * 15).astype(np.uint8).reshape(-1, 8, 8), digits[1][:300]
    np.savez(folder / "digits.npz", X_train=X, y_train=y, X_test=X[:9], y_test=y[:9])
    for number, (image, label) in enumerate(zip(X, y, strict=True)):
        (folder / "png" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / "png" / str(label) / f"{number}.png")
    return folder


@pytest.fixture(scope="module", params=["digits.npz", "png"])
def picture_model(pictures, request):
    model = pictures / f"model of {request.param}"
    run("fit", pictures / request.param, "--epsilon", 20, "--classes", "0,1,2,3,4,5,6,7,8,9", "-q", "-o", model)
    return model


def test_images_come_back_as_arrays_and_as_pngs(picture_model, tmp_path):
    run("sample", picture_model, "-n", 40, "-o", tmp_path / "synth.npz")
    with np.load(tmp_path / "synth.npz") as arrays:
        assert arrays["X"].shape == (40, 8, 8)
        assert arrays["X"].dtype == np.uint8
        assert arrays["y"].tolist().count(3) in range(1, 9)
    run("sample", picture_model, "-n", 6, "--label", 3, "--label", 7, "-o", tmp_path / "synth")
    files = sorted(path.relative_to(tmp_path / "synth") for path in tmp_path.rglob("*.png"))
    assert [str(path.parent) for path in files] == ["3"] * 3 + ["7"] * 3
    with Image.open(tmp_path / "synth" / files[0]) as image:
        assert image.size == (8, 8)
        assert image.mode == "L"


def test_report_of_images_shows_them(picture_model, pictures, tmp_path):
    page = tmp_path / "report.html"
    for data in ("digits.npz", "png"):
        run("report", picture_model, "--real", pictures / data, "-o", page, "--force", "--records", 200)
        assert page.read_text(encoding="utf-8").count("data:image/png;base64,") == 2
    run("report", picture_model, "--real", pictures / "digits.npz", "--target", "y", "-o", page, "--force", code=1)
    np.savez(tmp_path / "other.npz", X=np.zeros((20, 9, 9)), y=np.zeros(20))
    refused = run("report", picture_model, "--real", tmp_path / "other.npz", "-o", page, "--force", code=1)
    assert "another shape" in refused.stderr


def test_colour_without_labels(tmp_path):
    (tmp_path / "png").mkdir()
    random = np.random.default_rng(0)
    for number in range(60):
        Image.fromarray(random.integers(255, size=(6, 5, 3), dtype=np.uint8)).save(tmp_path / "png" / f"{number}.png")
    run("fit", tmp_path / "png", "--epsilon", 9, "-q", "-o", tmp_path / "m")
    run("sample", tmp_path / "m", "-n", 3, "-o", tmp_path / "synth")
    with Image.open(next((tmp_path / "synth").glob("*.png"))) as image:
        assert (image.mode, image.size) == ("RGB", (5, 6))


def test_rows_of_numbers_with_bounds_from_a_file(blobs, tmp_path):
    np.savez(tmp_path / "blobs.npz", X=blobs[0], y=blobs[1])
    (tmp_path / "bounds.json").write_text("[-4, 4]")
    options = ("--schema", tmp_path / "bounds.json", "--classes", "0,1", "--metadata", "require", "--epsilon", 5, "-q")
    run("fit", tmp_path / "blobs.npz", *options, "-o", tmp_path / "m")
    run("sample", tmp_path / "m", "-n", 10, "-o", tmp_path / "synth.npz")
    with np.load(tmp_path / "synth.npz") as arrays:
        assert arrays["X"].shape == (10, 3)
    run("sample", tmp_path / "m", "-o", tmp_path / "folder", code=1)


# --- What is refused -------------------------------------------------------------------------------------------------


def refusals(folder):
    """Arguments, and what the one line of the error says."""
    data, schema, model = folder / "data.csv", folder / "schema.json", folder / "model"
    new = ("-o", folder / "new")
    (folder / "not.json").write_text("{")
    (folder / "other.json").write_text('{"wage": {"kind": "float"}}')
    (folder / "bounds.json").write_text("[0, 1]")
    (folder / "broken.csv").write_text(f"a,b\n1,2\n{SECRET},{SECRET},{SECRET}\n")
    (folder / "comma.csv").write_text(f"a,b\n1,{SECRET},\n1,2,\n")
    (folder / "bytes.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    (folder / "empty.csv").write_text("a,b\n")
    (folder / "nothing.csv").write_text("")
    (folder / "short.csv").write_text(f"a,b\n1,2\n{SECRET}\n")
    (folder / "twice.csv").write_text("a,b,a\n1,2,3\n")
    (folder / "index.csv").write_text(",a\n0,1\n1,2\n")
    for name, cell in (("commas", "{},5"), ("dates", "{}/01/2020"), ("thousands", "1,{}00,000")):
        lines = [cell.format(place % 28 + 1) for place in range(28)]
        (folder / f"{name}.csv").write_text("\n".join(["a;b", *(f"{line};1" for line in lines)]))
    (folder / "stray.csv").write_text("\n".join(["a", *map(str, range(1, 60)), SECRET]))
    (folder / "people.txt").write_text("a\n1\n")
    (folder / "broken.npz").write_bytes(SECRET.encode())
    (folder / "broken.parquet").write_bytes(SECRET.encode())
    np.savez(folder / "names.npz", theirs=np.zeros((3, 2)))
    (folder / "empty").mkdir(exist_ok=True)
    (folder / "other.csv").write_text(f"wage\n{SECRET}\n")
    page = ("-o", folder / "page.html")
    fit = ("fit", data, "--epsilon", 1, *new)
    return [
        (("schema", folder / "absent.csv"), "no such file"),
        (("schema", folder / "names.npz"), "no table"),
        (("schema", folder / "broken.csv"), "line 3: 3 fields, and the header has 2"),
        (("schema", folder / "comma.csv"), "line 2: 3 fields, and the header has 2"),
        (("schema", folder / "bytes.csv"), "not written in utf-8: say --encoding"),
        (("schema", folder / "empty.csv"), "no rows"),
        (("schema", folder / "nothing.csv"), "is empty"),
        (("schema", folder / "short.csv"), "line 3: 1 fields, and the header has 2"),
        (("schema", folder / "twice.csv"), "several columns of one name: a"),
        (("schema", folder / "index.csv"), "--drop 'Unnamed: 0'"),
        (("schema", folder / "index.csv", "--drop", "b"), "--drop names columns"),
        (("schema", folder / "empty.csv", "--separator", "ab"), "--separator"),
        (("schema", folder / "empty.csv", "--decimal", ";"), "--decimal"),
        (("schema", folder / "empty.csv", "--encoding", "klingon"), "--encoding 'klingon'"),
        (("fit", folder / "names.npz", "--epsilon", 1, "--drop", "a", *new), "are for tables"),
        (("schema", folder / "broken.parquet"), "cannot be read as parquet"),
        (("schema", data, "-o", schema), "--force"),
        (("schema", data, "-o", folder / "nowhere" / "s.json"), "there is no folder"),
        (("sample", model, "-o", folder / "nowhere" / "s.csv"), "there is no folder"),
        (("fit", folder / "broken.npz", "--epsilon", 1, *new), "cannot be read as .npz"),
        (("fit", folder / "names.npz", "--epsilon", 1, *new), "it has: theirs"),
        (("fit", folder / "people.txt", "--epsilon", 1, *new), "tables are .csv"),
        (("fit", folder / "commas.csv", "--epsilon", 1, *new), "'a' holds numbers with commas: say --decimal ,"),
        (("fit", folder / "thousands.csv", "--epsilon", 1, *new), "take them out if thousands do"),
        (("fit", folder / "dates.csv", "--epsilon", 1, *new), "'a' holds dates: declare in --schema how"),
        (("fit", folder / "stray.csv", "--epsilon", 1, *new), "'a' holds numbers, but for some cells: declare"),
        (("fit", folder / "empty", "--epsilon", 1, *new), "either PNGs, or subfolders"),
        (("fit", folder / "absent", "--epsilon", 1, *new), "no such file or folder"),
        (("fit", data, "--epsilon", -1, *new), "epsilon must lie in"),
        (("fit", data, "--epsilon", 1, "-o", model), "--force"),
        ((*fit, "--schema", folder / "not.json"), "not JSON"),
        ((*fit, "--schema", folder / "other.json"), "lacks: wage"),
        ((*fit, "--schema", folder / "bounds.json"), "a column each"),
        ((*fit, "--schema", folder / "absent.json"), "No such file"),
        ((*fit, "--target", "wage"), "there are: age, score"),
        ((*fit, "--schema", schema, "--target", "age"), "declared as a number"),
        ((*fit, "--target", "score"), "not whole"),
        ((*fit, "--classes", "yes"), "--classes needs --target"),
        ((*fit, "--metadata", "require"), "not declared: schema['age'] (bounds)"),
        ((*fit, "--mechanism", "batch"), "tables need"),
        ((*fit, "--budget", 1), "--budget needs --ledger"),
        ((*fit, "--image-shape", "large"), "28x28"),
        (("sample", folder / "empty"), "holds no model"),
        (("sample", model, "-o", folder / "synth.npz"), "draws tables"),
        (("sample", model, "-o", data), "--force"),
        (("sample", model, "--where", "age"), "COLUMN=VALUE"),
        (("sample", model, "--where", "wage=1"), "it has: age, score"),
        (("sample", model, "--where", "age=old"), "low..high"),
        (("sample", model, "--where", "age=.."), "low.., ..high"),
        (("sample", model, "--where", "city=Atlantis"), "knows the categories"),
        (("sample", model, "--label", "perhaps"), "it knows"),
        (("report", folder / "empty", "--real", data, *page), "holds no model"),
        (("report", model, "--real", folder / "absent.csv", *page), "no such file"),
        (("report", model, "--real", folder / "empty", *page), "the model is of a table"),
        (("report", model, "--real", folder / "other.csv", *page), "lacks columns of the model: age"),
        (("report", model, "--real", data, "--target", "wage", *page), "there are: age"),
        (("report", model, "--real", data, "--target", "gain", *page), "has missing cells"),
        (("privacy", folder / "empty"), "holds no model"),
        (("privacy", data), "line 1"),
    ]


def test_what_cannot_be_done_is_said_in_one_line_that_holds_no_data(workplace):
    for arguments, says in refusals(workplace):
        assert says in run(*arguments, code=1).stderr, arguments
    assert not (workplace / "new" / "model.json").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fit", "data.csv", "-o", "m"], "Missing option '--epsilon'. Try: sinkgen fit --help"),
        (["fit", "data.csv", "--epsilon", "much"], "--epsilon"),
        (["fit", "data.csv", "--epsilon", "1", "-o", "m", "--mechanism", "magic"], "semidual"),
        (["sample", "m", "-n", "0"], "-n"),
        (["paint"], "No such command"),
    ],
)
def test_wrong_usage_exits_with_2(arguments, says):
    assert says in run(*arguments, code=2).stderr.replace("root", "sinkgen")


def test_other_libraries_messages_are_not_shown(workplace, monkeypatch):
    def fail(*_, **__):
        raise ValueError(SECRET)

    monkeypatch.setattr(pd.DataFrame, "insert", fail)
    assert "unexpected ValueError" in run("sample", workplace / "model", code=1).stderr
    monkeypatch.setattr(models, "load", lambda path: labels._as_number(SECRET))  # float() quotes what it cannot read
    assert "unexpected ValueError" in run("sample", workplace / "model", code=1).stderr


def test_interrupted(workplace, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "load", interrupt)
    assert CliRunner().invoke(app, ["sample", str(workplace / "model")]).exit_code == 130


def test_force_overwrites_and_folders_are_never_mixed(workplace, pictures, picture_model, tmp_path):
    path = tmp_path / "synth.csv"
    path.write_text("mine")
    run("sample", workplace / "model", "-o", path, code=1)
    assert path.read_text() == "mine"
    run("sample", workplace / "model", "-n", 7, "-o", path, "--force")
    assert len(pd.read_csv(path)) == 7
    run("sample", picture_model, "-o", pictures / "png", "--force", code=1)


def test_ledger_is_charged_first_and_its_budget_is_kept(workplace, tmp_path):
    book = tmp_path / "spent.jsonl"
    fit = ("fit", workplace / "data.csv", "--epsilon", 1, "--ledger", book, "--budget", 1.2, "-q")
    run(*fit, "-o", tmp_path / "first")
    assert "over its budget" in run(*fit, "-o", tmp_path / "second", code=1).stderr
    assert len(PrivacyLedger(book)) == 1
    assert not (tmp_path / "second" / "model.json").exists()
    statement = json.loads(run("privacy", book, "--json").stdout)
    assert statement["epsilon"] == pytest.approx(1, abs=0.01)


def test_warnings_of_a_leak_are_one_line(workplace, tmp_path):
    result = run("fit", workplace / "data.csv", "--epsilon", 1, "--metadata", "trust", "-q", "-o", tmp_path / "m")
    assert result.stderr.startswith("sinkgen: warning: taken from the data as public")
    assert "schema['age'] (bounds)" in run("privacy", tmp_path / "m").stdout


# --- The command itself ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["schema", "fit", "sample", "report", "privacy"])
def test_every_command_helps_with_examples(command):
    text = run(command, "--help").stdout
    assert "Examples" in text
    assert f"sinkgen {command} " in re.sub(r"\s+", " ", text)


def test_commands_of_the_docs_run(digits, tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    age = random.integers(18, 80, 300)
    income = np.where(age + random.normal(0, 9, 300) > 50, ">50K", "<=50K")
    pd.DataFrame({"age": age, "income": income}).to_csv("data.csv", index=False)
    for number, (image, label) in enumerate(zip(digits[0][:200].reshape(-1, 8, 8), digits[1][:200], strict=True)):
        Path("digits", str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15).astype(np.uint8)).save(f"digits/{label}/{number}.png")
    blocks = re.findall(r"^```sh\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) > 10
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "sinkgen"
        run(*arguments)


def test_module_runs_and_says_its_version():
    result = subprocess.run([sys.executable, "-m", "sinkgen", "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"sinkgen \d+\.\d+.*\n", result.stdout)


def test_without_typer_one_line_says_what_to_install(tmp_path):
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError('no', name='typer')")
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    result = subprocess.run(
        [sys.executable, "-m", "sinkgen"], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": paths},
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "sinkgen: the command line needs typer and rich: pip install 'sinkgen[cli]'\n"


def test_import_of_the_package_does_not_load_the_command_line():
    code = "import sys, sinkgen; sys.exit('typer' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_persons_are_protected_where_a_column_says_whose_rows_are(people, tmp_path):
    ids = np.random.default_rng(1).integers(0, 90, len(people))
    visits = people[["age", "earns"]].assign(patient=[f"{SECRET}-{i}" for i in ids])[["patient", "age", "earns"]]
    visits.to_csv(tmp_path / "visits.csv", index=False)
    schema = '{"age": {"bounds": [18, 90]}, "earns": {"values": ["no", "yes"]}}'
    (tmp_path / "schema.json").write_text(schema)
    given = [tmp_path / "visits.csv", "--schema", tmp_path / "schema.json", "--epsilon", 20, "--target", "earns", "-q"]
    told = run("fit", *given, "--group", "patient", "--max-rows", 3, "-o", tmp_path / "model").stderr
    assert "Protected are persons" in told
    statement = run("privacy", tmp_path / "model").stdout
    assert "add or remove one person with all rows" in statement
    assert "count as 3 rows at most" in statement
    run("sample", tmp_path / "model", "-n", 20, "-o", tmp_path / "synth.csv")
    assert pd.read_csv(tmp_path / "synth.csv").columns.tolist() == ["age", "earns"]
    other = ["-o", tmp_path / "other"]
    run("fit", *given, "--group", "patient", "--max-rows", "auto", "-o", tmp_path / "chosen")
    assert "as a release chose" in run("privacy", tmp_path / "chosen").stdout
    for wrong in ("most", "0", "2.5"):
        refused = run("fit", *given, "--group", "patient", "--max-rows", wrong, *other, code=1)
        assert "from 1 on, or auto" in refused.stderr
    assert "--max-rows needs --group" in run("fit", *given, "--max-rows", 3, *other, code=1).stderr
    assert "--group 'nobody' is no column" in run("fit", *given, "--group", "nobody", *other, code=1).stderr
    assert "name the same column" in run("fit", *given, "--group", "earns", *other, code=1).stderr
    visits.assign(patient=visits["patient"].where(visits.index > 0)).to_csv(tmp_path / "visits.csv", index=False)
    assert "holds missing values" in run("fit", *given, "--group", "patient", *other, code=1).stderr


def test_persons_are_drawn_with_all_their_rows(people, tmp_path):
    random, ids = np.random.default_rng(1), np.arange(90).repeat(4)
    visits = pd.DataFrame({
        "patient": [f"{SECRET}-{i}" for i in ids], "sex": random.choice(["f", "m"], 90)[ids],
        "earns": random.choice(["no", "yes"], 360), "kind": random.choice(["a", "b"], 360),
    })  # fmt: skip
    schema = {"sex": {"values": ["f", "m"], "of": "group"}}
    schema |= {"kind": {"values": ["a", "b"]}, "earns": {"values": ["no", "yes"]}}
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    visits.to_csv(tmp_path / "visits.csv", index=False)
    given = [tmp_path / "visits.csv", "--schema", tmp_path / "schema.json", "--epsilon", 20, "-q"]
    for target in ([], ["--target", "earns"]):
        model = tmp_path / f"model{len(target)}"
        told = run("fit", *given, *target, "--group", "patient", "--whole-groups", "-o", model).stderr
        assert f"sinkgen sample {model} --groups 1000" in told
        run("sample", model, "--groups", 30, "-o", tmp_path / "synth.csv", "--force")
        drawn = pd.read_csv(tmp_path / "synth.csv")
        assert drawn.columns.tolist() == visits.columns.tolist()
        assert drawn["patient"].nunique() == 30
        assert (drawn.groupby("patient")["sex"].nunique() == 1).all()
        assert SECRET not in (tmp_path / "synth.csv").read_text()
        run("sample", model, "-n", 5, "-o", tmp_path / "rows.csv", "--force")
        assert pd.read_csv(tmp_path / "rows.csv").columns.tolist() == ["sex", "earns", "kind"]
        refused = run("sample", model, "--groups", 3, "--where", "sex=f", "-o", tmp_path / "other.csv", code=1)
        assert "leave --label and --where out" in refused.stderr
    for wrong in ([], ["--group", "patient", "--max-rows", 2], ["--group", "patient", "--mechanism", "batch"]):
        refused = run("fit", *given, "--whole-groups", *wrong, "-o", tmp_path / "no", code=1)
        assert "--whole-groups needs --group" in refused.stderr


def test_plan_and_audit_spend_nothing(workplace, tmp_path):
    planned = run("plan", workplace / "schema.json", "--rows", 3000, "--epsilon", 1, "--target", "earns")
    assert "nothing is spent by this plan" in planned.stdout
    audited = run(
        "audit", workplace / "data.csv", "--schema", workplace / "schema.json", "--target", "earns", "--epsilon", 5,
        "--fits", 8,
    )  # fmt: skip
    assert "the claim was not refuted" in audited.stdout
    refused = run("plan", workplace / "schema.json", "--rows", 3000, "--target", "nothing", code=1)
    assert "declares the values" in refused.stderr
