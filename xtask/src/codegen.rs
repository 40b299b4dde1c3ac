//! `cargo xtask codegen`: Rust shapes, constraint tables, routes and error names from the AWS service models.
//!
//! It decides which operations exist ([`SERVICES`]), how the models are stripped, and how the generated code looks.
//! The stripped models (`crates/formats/aws-wire/model`) and the generated code are committed; `--check` fails if
//! regeneration would change anything, `--from DIR` takes the models anew from a `data` folder of botocore.

mod constraints;
mod model;
mod names;
mod operations;
mod plan;
mod shapes;
mod write;

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// One service, and which of its operations Careen serves.
pub(crate) struct Service {
    /// Module and file name, and the name requests are signed with.
    pub(crate) name: &'static str,
    /// Where the model comes from.
    source: Source,
    /// Operations by the module that their shapes go to. What several modules need goes to `common`.
    pub(crate) modules: &'static [(&'static str, &'static [&'static str])],
}

/// Where a service's model comes from.
enum Source {
    /// AWS's: botocore keeps it here, below its `data` folder, without `.gz`. A stripped copy is committed.
    Botocore(&'static str),
    /// Our own: it lies here, below the folder of models, whole, and is given to callers as it is.
    Own(&'static str),
}

/// The operations. This is the only list of them: add one here, run `cargo xtask codegen --from DIR`.
const SERVICES: &[Service] = &[
    Service {
        name: "ssm",
        source: Source::Botocore("ssm/2014-11-06/service-2.json"),
        modules: &[
            ("activations", &["CreateActivation", "DeleteActivation", "DescribeActivations"]),
            ("nodes", &["DescribeInstanceInformation", "DeregisterManagedInstance", "UpdateManagedInstanceRole"]),
            ("tags", &["AddTagsToResource", "RemoveTagsFromResource", "ListTagsForResource"]),
            (
                "commands",
                &["SendCommand", "ListCommands", "ListCommandInvocations", "GetCommandInvocation", "CancelCommand"],
            ),
            (
                "patch_baselines",
                &[
                    "CreatePatchBaseline",
                    "UpdatePatchBaseline",
                    "GetPatchBaseline",
                    "DeletePatchBaseline",
                    "DescribePatchBaselines",
                    "RegisterDefaultPatchBaseline",
                    "GetDefaultPatchBaseline",
                ],
            ),
            (
                "patch_groups",
                &[
                    "RegisterPatchBaselineForPatchGroup",
                    "DeregisterPatchBaselineForPatchGroup",
                    "GetPatchBaselineForPatchGroup",
                    "DescribePatchGroups",
                ],
            ),
            ("patch_states", &["DescribeInstancePatchStates", "DescribeInstancePatches"]),
            ("documents", &["GetDocument", "DescribeDocument", "ListDocuments", "DescribeDocumentPermission"]),
        ],
    },
    Service {
        name: "sts",
        source: Source::Botocore("sts/2011-06-15/service-2.json"),
        modules: &[("identity", &["GetCallerIdentity"])],
    },
    Service {
        name: "careen",
        source: Source::Own("careen/service-2.json"),
        modules: &[
            ("audit", &["ListAuditRecords", "GetAuditRecord", "VerifyAuditLog"]),
            ("server", &["GetServerInformation"]),
            ("reasons", &["ListPackageChanges", "GetEffectivePatchBaseline", "ListPatchReasons"]),
        ],
    },
    Service {
        name: "iam",
        source: Source::Botocore("iam/2010-05-08/service-2.json"),
        modules: &[
            ("users", &["CreateUser", "GetUser", "ListUsers", "DeleteUser"]),
            (
                "access_keys",
                &["CreateAccessKey", "ListAccessKeys", "UpdateAccessKey", "DeleteAccessKey", "GetAccessKeyLastUsed"],
            ),
        ],
    },
];

/// Shapes that are secrets although their model does not say so.
pub(crate) const ALSO_SENSITIVE: &[&str] = &["ActivationCode"];

/// Patterns that the `regex` crate cannot express, with the hand-written check that stands in for each.
pub(crate) const HAND_WRITTEN_PATTERNS: &[(&str, &str)] = &[(r"^(?!\s*$).+", "not_blank")];

/// Runs `cargo xtask codegen [--check] [--from DIR]`.
///
/// # Errors
/// When a model cannot be read, holds something this generator does not understand, or, with `--check`, when a file
/// would change.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut check = false;
    let mut from: Option<PathBuf> = None;
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--check" => check = true,
            "--from" => from = Some(rest.next().context("--from needs botocore's data folder")?.into()),
            other => bail!("unknown argument {other}; usage: cargo xtask codegen [--check] [--from BOTOCORE_DATA]"),
        }
    }
    let root = repository_root()?;
    let room = root.join("crates/formats/aws-wire");
    let mut output = write::Output::new(&root, check);
    for service in SERVICES {
        generate(service, &room, from.as_deref(), &mut output)?;
    }
    output.add(&room.join("src/generated/mod.rs"), operations::root_module(SERVICES))?;
    output.remove_others(&room.join("src/generated"))?;
    output.finish()
}

fn generate(service: &Service, room: &Path, from: Option<&Path>, output: &mut write::Output) -> Result<()> {
    let stripped = room.join(format!("model/{}.json", service.name));
    let model = match (&service.source, from) {
        (Source::Botocore(path), Some(data)) => {
            let model = model::Model::read_source(&data.join(path))?.reduced(service)?;
            output.add_text(&stripped, model.to_json()?)?;
            model
        }
        (Source::Botocore(_), None) => model::Model::read_stripped(&stripped)?,
        (Source::Own(path), _) => model::Model::read_source(&room.join("model").join(path))?.whole(service)?,
    };
    let plan = plan::Plan::new(service, &model)?;
    let folder = room.join("src/generated").join(service.name);
    for (file, text) in [
        ("mod.rs", operations::service_module(&plan)?),
        ("operations.rs", operations::operations(&plan)?),
        ("errors.rs", operations::errors(&plan)?),
        ("values.rs", operations::values(&plan)),
        ("patterns.rs", constraints::patterns(&plan)?),
    ] {
        output.add(&folder.join(file), text)?;
    }
    for module in plan.modules() {
        output.add(&folder.join(format!("{module}.rs")), shapes::module(&plan, module)?)?;
        output.add(&folder.join(format!("{module}_constraints.rs")), constraints::module(&plan, module)?)?;
    }
    Ok(())
}

/// The nearest folder above the current one that holds the models.
fn repository_root() -> Result<PathBuf> {
    let here = std::env::current_dir()?;
    here.ancestors()
        .find(|folder| folder.join("crates/formats/aws-wire").is_dir())
        .map(Path::to_path_buf)
        .context("run this inside the repository")
}
