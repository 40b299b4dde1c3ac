use crate::PolicyError;
use serde::Deserialize;

/// How much memory a job's scripts may use together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryMax {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of the host's.
    Percent(u8),
    /// All there is.
    Unlimited,
}

/// What a job's scripts may use of the host. Package transactions are never limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory.
    pub memory_max: MemoryMax,
    /// Processor time in hundredths of one core; `None`: all there is.
    pub cpu_max_percent: Option<u32>,
    /// Processes and threads; `None`: as many as the host allows.
    pub pids_max: Option<u32>,
    /// The share of the disk, 1 to 10000, where others have 100.
    pub io_weight: u16,
}

impl Default for Limits {
    /// What keeps a script from taking the whole host with it, the agent included.
    fn default() -> Self {
        Self { memory_max: MemoryMax::Percent(80), cpu_max_percent: None, pids_max: Some(4096), io_weight: 50 }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    memory_max: Option<String>,
    cpu_max: Option<String>,
    pids_max: Option<u32>,
    io_weight: Option<u16>,
}

const MEMORY_BYTES_MIN: u64 = 8 << 20;
const PIDS_MIN: u32 = 8;

impl Limits {
    pub(crate) fn of(file: File) -> Result<Self, PolicyError> {
        let mut limits = Self::default();
        if let Some(text) = file.memory_max {
            limits.memory_max = memory(text.trim())?;
        }
        if let Some(text) = file.cpu_max {
            let wrong = || PolicyError::new("limits.cpu_max: write hundredths of one core, e.g. \"150%\", or \"none\"");
            limits.cpu_max_percent = match text.trim() {
                "none" => None,
                text => {
                    let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<u32>().ok());
                    Some(percent.filter(|percent| (1..=1_000_000).contains(percent)).ok_or_else(wrong)?)
                }
            };
        }
        if let Some(count) = file.pids_max {
            if count < PIDS_MIN {
                return Err(PolicyError::new(format!("limits.pids_max: at least {PIDS_MIN}, or no script could run")));
            }
            limits.pids_max = Some(count);
        }
        if let Some(weight) = file.io_weight {
            if !(1..=10_000).contains(&weight) {
                return Err(PolicyError::new("limits.io_weight: 1 to 10000, where others have 100"));
            }
            limits.io_weight = weight;
        }
        Ok(limits)
    }

    /// What they say, as a sentence.
    #[must_use]
    pub fn in_words(&self) -> String {
        let memory = match self.memory_max {
            MemoryMax::Bytes(bytes) => format!("{} MiB of memory", bytes >> 20),
            MemoryMax::Percent(percent) => format!("{percent}% of the host's memory"),
            MemoryMax::Unlimited => "all of the memory".to_owned(),
        };
        let cpu = self.cpu_max_percent.map_or("all cores".to_owned(), |percent| format!("{percent}% of a core"));
        let pids = self.pids_max.map_or("any number of processes".to_owned(), |count| format!("{count} processes"));
        let weight = self.io_weight;
        format!(
            "Each job's scripts together may use {memory}, {cpu}, {pids}; their share of the disk is {weight} where others have 100."
        )
    }
}

fn memory(text: &str) -> Result<MemoryMax, PolicyError> {
    let wrong = || {
        PolicyError::new(
            "limits.memory_max: write e.g. \"512MiB\", \"2GiB\", \"80%\" of the host's memory, or \"none\"",
        )
    };
    if text == "none" {
        return Ok(MemoryMax::Unlimited);
    }
    if let Some(number) = text.strip_suffix('%') {
        let percent = number.trim().parse::<u8>().ok().filter(|percent| (1..=100).contains(percent));
        return percent.map(MemoryMax::Percent).ok_or_else(wrong);
    }
    let unit = [("KiB", 10), ("MiB", 20), ("GiB", 30)]
        .into_iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)));
    let (number, shift) = unit.ok_or_else(wrong)?;
    let number = number.trim().parse::<u64>().map_err(|_| wrong())?;
    let bytes = number.checked_mul(1 << shift).ok_or_else(wrong)?;
    if bytes < MEMORY_BYTES_MIN {
        let least = MEMORY_BYTES_MIN >> 20;
        return Err(PolicyError::new(format!("limits.memory_max: at least {least}MiB, or no script could run")));
    }
    Ok(MemoryMax::Bytes(bytes))
}
