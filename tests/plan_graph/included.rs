//! Included files and imported runs.

use super::*;

/// A runbook with included files; a refusal stands for a file that could not be read.
fn with_parts<'a>(main: &'a str, parts: &[(&'a str, &'a str)]) -> Sources<'a> {
    let mut sources = Sources::from(main.as_bytes());
    for (name, text) in parts {
        sources.parts.insert(name, Ok(text.as_bytes()));
    }
    sources
}

#[track_caller]
fn errors_of(sources: &Sources<'_>, wanted: &[(&str, &str)]) {
    let faults = check(sources.clone(), None, &catalogue(), now());
    expect(&told(&faults, Severity::Error), wanted, "");
}

const PART: &str =
    "phases:\n  - id: part\n    steps:\n      - { id: inner, uses: sql.query, on: source, with: { sql: select 1 } }\n";

fn including(path: &str) -> String {
    sound(&[("phases:\n", &format!("phases:\n  - {{ include: \"{path}\" }}\n"))])
}

#[test]
fn an_included_file_gives_its_phases_and_is_covered_by_every_digest() {
    let main = including("parts/a.yaml");
    assert_eq!(includes(main.as_bytes()), ["parts/a.yaml"]);
    let made = |part: &str| plan(with_parts(&main, &[("parts/a.yaml", part)]), "lab", &catalogue(), now()).unwrap();
    let before = made(PART);
    assert_eq!(graph(&before), ["inner←", "first←inner", "second←first"]);
    let changed = made(&PART.replace("select 1", "select 2")).digests;
    assert_ne!(before.digests.runbook, changed.runbook);
    assert_ne!(before.digests.plan, changed.plan);
    assert_ne!(before.digests.rehearsal, changed.rehearsal);
    let comment = made(&format!("# a comment\n{PART}")).digests;
    assert_ne!(before.digests.runbook, comment.runbook, "every byte");
    assert_eq!(before.digests.plan, comment.plan);
    let moved = including("parts/b.yaml");
    let moved = plan(
        with_parts(&moved, &[("parts/b.yaml", PART)]),
        "lab",
        &catalogue(),
        now(),
    )
    .unwrap();
    assert_ne!(before.digests.runbook, moved.digests.runbook, "and every name");
}

#[test]
fn a_fault_of_an_included_file_names_it() {
    let main = including("parts/a.yaml");
    let bad = PART.replace("sql: select 1", "sqll: select 1");
    let sources = with_parts(&main, &[("parts/a.yaml", &bad)]);
    errors_of(&sources, &[("1/4:57", "needs the parameter"), ("1/4:59", "sqll")]);
    let faults = check(sources.clone(), None, &catalogue(), now());
    let text = pointsman::runbook::fault::render(&faults, "night.yaml", &sources);
    assert!(
        text.contains("parts/a.yaml:4:59: error: sql.query has no parameter"),
        "{text}"
    );
    assert!(text.contains("sqll: select 1"), "{text}");
    for (part, at, words) in [
        ("", "1/1:1", "the included file is empty"),
        ("phases: [\n", "1/1:9", "not YAML"),
        ("name: x\nphases: []\n", "1/1:1", "no field \"name\""),
        ("version: 2\nphases: []\n", "1/1:10", "knows version 1"),
        ("version: 1\n", "1/1:1", "has no phases"),
        ("phases: [{ include: a, steps: [] }]\n", "1/1:24", "no field \"steps\""),
    ] {
        let faults = check(with_parts(&main, &[("parts/a.yaml", part)]), None, &catalogue(), now());
        let found = told(&faults, Severity::Error);
        assert!(
            found
                .iter()
                .any(|found| found.starts_with(&format!("{at}: ")) && found.contains(words)),
            "{at} {words}: {found:#?}"
        );
    }
}

#[test]
fn what_may_not_be_included_is_told_where_it_is_named() {
    for (path, words) in [
        ("/etc/passwd", "is absolute"),
        ("../a.yaml", "leaves the runbook's folder"),
        ("parts/../../a.yaml", "leaves the runbook's folder"),
        ("./a.yaml", "is no plain path"),
        ("a//b.yaml", "is no plain path"),
        ("", "is no plain path"),
    ] {
        let main = including(path);
        assert!(includes(main.as_bytes()).is_empty(), "{path}");
        errors_of(&with_parts(&main, &[]), &[("11:16", words)]);
    }
    let main = including("a.yaml");
    let refusal = Refusal {
        message: "a.yaml: this is not a plain file".to_owned(),
        hint: "only plain files".to_owned(),
    };
    let mut sources = Sources::from(main.as_bytes());
    sources.parts.insert("a.yaml", Err(&refusal));
    errors_of(&sources, &[("11:16", "not a plain file = only plain files")]);
    let twice = including("a.yaml").replace("phases:\n", "phases:\n  - include: a.yaml\n");
    errors_of(&with_parts(&twice, &[("a.yaml", PART)]), &[("12:16", "included twice")]);
    let round = "phases: [{ include: b.yaml }]\n";
    let back = "phases: [{ include: a.yaml }]\n";
    let sources = with_parts(&main, &[("a.yaml", round), ("b.yaml", back)]);
    errors_of(&sources, &[("2/1:21", "a.yaml → b.yaml → a.yaml")]);
    let chain = ["b", "c", "d", "e", "f"].map(|name| format!("phases: [{{ include: {name}.yaml }}]\n"));
    let names = ["a.yaml", "b.yaml", "c.yaml", "d.yaml", "e.yaml"];
    let mut parts: Vec<(&str, &str)> = names.into_iter().zip(chain.iter().map(String::as_str)).collect();
    errors_of(&with_parts(&main, &parts), &[("4/1:21", "deeper than 4 levels")]);
    parts[3].1 = PART;
    errors_of(&with_parts(&main, &parts), &[]);
    let large = format!("{PART}# {}\n", "x".repeat(1024 * 1024 - 100));
    errors_of(
        &with_parts(&main, &[("a.yaml", &large)]),
        &[("1:1", "larger than 1 MiB together")],
    );
    let nodes = format!("{PART}version: [{}]\n", "1, ".repeat(9_990));
    let faults = check(with_parts(&main, &[("a.yaml", &nodes)]), None, &catalogue(), now());
    assert!(
        told(&faults, Severity::Error)[0].contains("more than 10,000 nodes"),
        "{faults:#?}"
    );
}

pub const IMPORT: &str =
    "import_run:\n  prep: { runbook: prepare-erp, outputs: { snapshot: steps.snap.outputs.id } }\n";

fn importing() -> String {
    sound(&[
        ("vars:", &format!("{IMPORT}vars:")),
        (
            "params: [1]",
            "params: [\"${ imports.prep.snapshot }\", \"of ${ vars.who }: ${ imports.prep.snapshot }\"]",
        ),
    ])
}

#[test]
fn an_import_is_a_name_until_its_run_is_named() {
    let text = importing();
    let open = planned(&text);
    assert_eq!(
        step(&open, "second").action.with["params"],
        json!(["${ imports.prep.snapshot }", "of world: ${ imports.prep.snapshot }"])
    );
    assert_eq!(open.imports["prep"].run, None);
    let outputs = json!({ "id": "snap-1" });
    let Value::Object(outputs) = outputs else { panic!() };
    let mut run = ImportedRun {
        run: "20260531-2200-abcd".to_owned(),
        runbook: "prepare-erp".to_owned(),
        head: "h1".to_owned(),
        outputs: BTreeMap::from([("snap".to_owned(), outputs)]),
    };
    let made = |run: &ImportedRun| {
        let mut sources = Sources::from(text.as_bytes());
        sources.imports.insert("prep", run);
        plan(sources, "lab", &catalogue(), now())
    };
    let known = made(&run).unwrap();
    assert_eq!(
        step(&known, "second").action.with["params"],
        json!(["snap-1", "of world: snap-1"])
    );
    assert_eq!(known.imports["prep"].run.as_deref(), Some("20260531-2200-abcd"));
    run.head = "h2".to_owned();
    let other = made(&run).unwrap();
    assert_ne!(known.digests.plan, other.digests.plan, "the head is part of the plan");
    assert_eq!(known.digests.rehearsal, other.digests.rehearsal);
    run.runbook = "other".to_owned();
    let faults = made(&run).unwrap_err();
    expect(
        &told(&faults, Severity::Error),
        &[("5:9", "executed other, not prepare-erp")],
        "",
    );
    run.runbook = "prepare-erp".to_owned();
    run.outputs.clear();
    let faults = made(&run).unwrap_err();
    expect(
        &told(&faults, Severity::Error),
        &[("5:54", "has no steps.snap.outputs.id")],
        "",
    );
}

#[test]
fn an_import_that_cannot_be_is_told_with_its_place() {
    let with = |from: &str, to: &str| importing().replacen(from, to, 1);
    errors(
        &with("{ runbook: prepare-erp, ", "{ "),
        &[
            ("5:9", "needs runbook and outputs"),
            ("28:20", "declares no prep"),
            ("28:50", "declares no prep"),
        ],
    );
    errors(
        &with("steps.snap.outputs.id", "snap.id"),
        &[("5:54", "is no output of a step")],
    );
    errors(&with("prepare-erp", "Prepare"), &[("5:20", "is no runbook name")]);
    errors(
        &with("{ runbook:", "{ run: x, runbook:"),
        &[("5:11", "has no field \"run\"")],
    );
    errors(
        &with("${ imports.prep.snapshot }\", ", "${ imports.prep.snap }\", "),
        &[("28:20", "has no output snap")],
    );
    errors(
        &with("${ imports.prep.snapshot }\", ", "${ imports.pre.snapshot }\", "),
        &[("28:20", "declares no pre")],
    );
    errors(
        &importing().replace(
            "sql: select 1",
            "sql: \"select * from ${ imports.prep.snapshot | ident }\"",
        ),
        &[("20:16", "an identifier from an import")],
    );
}

#[test]
fn included_files_are_read_from_the_runbooks_folder_and_nowhere_else() {
    let place = Place::new();
    fs::create_dir_all(place.path("night/parts")).unwrap();
    fs::create_dir(place.path("elsewhere")).unwrap();
    for file in ["elsewhere/a.yaml", "night/parts/a.yaml", "night/parts/open.yaml"] {
        fs::write(place.path(file), PART).unwrap();
    }
    fs::set_permissions(place.path("night/parts/open.yaml"), fs::Permissions::from_mode(0o666)).unwrap();
    symlink("a.yaml", place.path("night/parts/link.yaml")).unwrap();
    symlink(place.path("elsewhere"), place.path("night/linked")).unwrap();
    let fifo = place.path("night/parts/fifo.yaml").display().to_string();
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let night = place.path("night/night.yaml").display().to_string();
    for (path, words) in [
        ("parts/link.yaml", "a link"),
        ("linked/a.yaml", "a link"),
        ("parts/fifo.yaml", "not a plain file"),
        ("parts", "not a plain file"),
        ("parts/open.yaml", "chmod o-w"),
        ("parts/missing.yaml", "No such file"),
        ("../elsewhere/a.yaml", "leaves the runbook's folder"),
    ] {
        fs::write(&night, including(path)).unwrap();
        let ended = place.program(&["check", &night]).expect(2);
        assert!(
            ended.err.contains(&format!("{night}:11:16: error: ")),
            "{path}: {}",
            ended.err
        );
        assert!(ended.err.contains(words), "{path}: {}", ended.err);
    }
    fs::write(&night, including("parts/a.yaml")).unwrap();
    place.program(&["check", &night]).expect(0);
    let bad = PART.replace("sql: select 1", "sql: 1");
    fs::write(place.path("night/parts/a.yaml"), bad).unwrap();
    let ended = place.program(&["check", &night]).expect(2);
    assert!(ended.err.starts_with("parts/a.yaml:4:"), "{}", ended.err);
    let ended = place.program(&["check", &night, "--format", "json"]).expect(2);
    let faults: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(faults[0]["file"], "parts/a.yaml");
    let mut check = place.command(&["check", "-"]);
    let text = fs::File::open(&night).unwrap();
    let ended = check.stdin(Stdio::from(text)).output().unwrap();
    let err = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{err}");
    assert!(
        err.contains("<stdin>:11:16: error: a runbook from standard input has no folder"),
        "{err}"
    );
}

#[test]
fn a_run_keeps_what_it_included_and_its_outputs_can_be_imported() {
    let place = Place::new();
    fs::create_dir(place.path("parts")).unwrap();
    let part = PART.replace("select 1 }", "select 7 }, outputs: { seven: result.value }");
    fs::write(place.path("parts/a.yaml"), &part).unwrap();
    let prepare = place.path("prepare.yaml").display().to_string();
    let main = including("parts/a.yaml").replace("params: [1]", "params: []");
    fs::write(&prepare, &main).unwrap();
    let run = |more: &[&str]| {
        let mut arguments = vec!["run"];
        arguments.extend(more);
        arguments.extend(["--env", "lab", "--headless", "--approve-all", "--speed", "100"]);
        place.program(&arguments)
    };
    run(&[&prepare]).expect(0);
    let first = place.only_run();
    let folder = place.run_folder(&first);
    assert_eq!(fs::read_to_string(folder.join("runbook.yaml")).unwrap(), main);
    assert_eq!(fs::read_to_string(folder.join("included/parts/a.yaml")).unwrap(), part);

    let next = place.path("next.yaml").display().to_string();
    let import = "import_run:\n  prep: { runbook: sound, outputs: { seven: steps.inner.outputs.seven } }\n";
    let text = sound(&[
        ("name: sound", "name: next"),
        ("vars:", &format!("{import}vars:")),
        (
            "sql: select 1",
            "sql: select ?\n          params: [\"${ imports.prep.seven }\"]",
        ),
        ("params: [1]", "params: []"),
    ]);
    fs::write(&next, text).unwrap();
    place.program(&["check", &next]).expect(0);
    let ended = run(&[&next]).expect(2);
    assert!(ended.err.contains("--import prep=RUN"), "{}", ended.err);
    let named = format!("prep={first}");
    let ended = place
        .program(&["plan", &next, "--env", "lab", "--format", "json", "--import", &named])
        .expect(0);
    let plan: Plan = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(step(&plan, "first").action.with["params"], json!([7]));
    assert_eq!(plan.imports["prep"].run.as_deref(), Some(first.as_str()));
    run(&[&next, "--import", &named]).expect(0);
    for (import, words) in [
        ("prep=20200101-0000-aaaa".to_owned(), "there is no run"),
        (format!("other={first}"), "imports nothing called other"),
        (format!("prep={}", place.runs()[0]), "executed next, not sound"),
        ("prep".to_owned(), "write NAME=RUN"),
    ] {
        let ended = run(&[&next, "--import", &import]).expect(2);
        assert!(ended.err.contains(words), "{import}: {}", ended.err);
    }
    let journal = folder.join("journal/000001.jsonl");
    let altered = fs::read_to_string(&journal)
        .unwrap()
        .replacen("\"seven\":7", "\"seven\":8", 1);
    fs::write(&journal, altered).unwrap();
    let ended = run(&[&next, "--import", &named]).expect(2);
    assert!(ended.err.contains("cannot be imported: TAMPERED"), "{}", ended.err);
}
