//! `careen admin aws-model`: gives AWS's clients the model of the service `careen`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use aws_wire::{CAREEN_PAGINATORS, CAREEN_SERVICE_MODEL, careen};
use clap::Args;

use crate::terminal;

/// The flags of `careen admin aws-model`.
#[derive(Args)]
pub(crate) struct AwsModelOptions {
    /// Write the model to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Put the model and its paginators into a folder that botocore looks into, e.g. ~/.aws/models
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    models_folder: Option<PathBuf>,
}

pub(crate) fn run(options: &AwsModelOptions) -> Result<()> {
    if let Some(folder) = &options.models_folder {
        // The layout that botocore's loader expects: SERVICE/VERSION/TYPE.json.
        let folder = folder.join(careen::SIGNING_NAME).join(careen::API_VERSION);
        std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        write(&folder.join("service-2.json"), CAREEN_SERVICE_MODEL)?;
        write(&folder.join("paginators-1.json"), CAREEN_PAGINATORS)?;
        terminal::complain(&format!("written to {}", folder.display()));
        terminal::complain("now: aws careen list-audit-records --endpoint-url http://127.0.0.1:8470");
        return Ok(());
    }
    let Some(file) = &options.output else {
        terminal::say(CAREEN_SERVICE_MODEL.trim_end());
        return Ok(());
    };
    write(file, CAREEN_SERVICE_MODEL)?;
    terminal::complain(&format!(
        "now: aws configure add-model --service-name careen --service-model file://{}",
        file.display()
    ));
    terminal::complain("then: aws careen list-audit-records --endpoint-url http://127.0.0.1:8470");
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}
