use serde::{Deserialize, Serialize};

/// The distribution of a host, as `/etc/os-release` names it (os-release(5)).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Distribution {
    /// `ID`, e.g. `debian`.
    pub id: String,
    /// `NAME`, e.g. `Debian GNU/Linux`.
    pub name: String,
    /// `VERSION_ID`, e.g. `12`; empty on testing and unstable.
    pub version_id: String,
    /// `VERSION_CODENAME`, e.g. `bookworm`; empty where there is none.
    pub codename: String,
    /// `PRETTY_NAME`, for people.
    pub pretty_name: String,
}

/// The operating systems of a patch baseline, with the names of the SSM model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum OperatingSystem {
    Windows,
    AmazonLinux,
    #[serde(rename = "AMAZON_LINUX_2")]
    AmazonLinux2,
    #[serde(rename = "AMAZON_LINUX_2022")]
    AmazonLinux2022,
    #[serde(rename = "AMAZON_LINUX_2023")]
    AmazonLinux2023,
    Ubuntu,
    RedhatEnterpriseLinux,
    Suse,
    Centos,
    OracleLinux,
    Debian,
    Macos,
    Raspbian,
    RockyLinux,
    AlmaLinux,
}

impl OperatingSystem {
    /// Every operating system with its name in the API.
    pub const ALL: [(Self, &'static str); 15] = [
        (Self::Windows, "WINDOWS"),
        (Self::AmazonLinux, "AMAZON_LINUX"),
        (Self::AmazonLinux2, "AMAZON_LINUX_2"),
        (Self::AmazonLinux2022, "AMAZON_LINUX_2022"),
        (Self::AmazonLinux2023, "AMAZON_LINUX_2023"),
        (Self::Ubuntu, "UBUNTU"),
        (Self::RedhatEnterpriseLinux, "REDHAT_ENTERPRISE_LINUX"),
        (Self::Suse, "SUSE"),
        (Self::Centos, "CENTOS"),
        (Self::OracleLinux, "ORACLE_LINUX"),
        (Self::Debian, "DEBIAN"),
        (Self::Macos, "MACOS"),
        (Self::Raspbian, "RASPBIAN"),
        (Self::RockyLinux, "ROCKY_LINUX"),
        (Self::AlmaLinux, "ALMA_LINUX"),
    ];

    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(os, _)| *os == self).map_or("", |(_, name)| name)
    }

    /// From the name in the API.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(os, _)| *os)
    }

    /// Whether updates come through apt: Debian, Ubuntu and Raspbian.
    #[must_use]
    pub fn uses_apt(self) -> bool {
        matches!(self, Self::Debian | Self::Ubuntu | Self::Raspbian)
    }

    /// The operating system that a distribution counts as; `None` where SSM has no name for it.
    #[must_use]
    pub fn of(distribution: &Distribution) -> Option<Self> {
        Some(match distribution.id.as_str() {
            "debian" => Self::Debian,
            "ubuntu" => Self::Ubuntu,
            "raspbian" => Self::Raspbian,
            "rhel" => Self::RedhatEnterpriseLinux,
            "rocky" => Self::RockyLinux,
            "almalinux" => Self::AlmaLinux,
            "ol" => Self::OracleLinux,
            "centos" => Self::Centos,
            "sles" | "sles_sap" => Self::Suse,
            "amzn" => match distribution.version_id.as_str() {
                "2" => Self::AmazonLinux2,
                "2022" => Self::AmazonLinux2022,
                "2023" => Self::AmazonLinux2023,
                _ => Self::AmazonLinux,
            },
            _ => return None,
        })
    }
}

impl Distribution {
    /// The value that a baseline's PRODUCT filter is compared with, e.g. `Debian12`, `Ubuntu22.04`.
    #[must_use]
    pub fn product(&self) -> String {
        let name = match OperatingSystem::of(self) {
            Some(OperatingSystem::Debian) => "Debian",
            Some(OperatingSystem::Ubuntu) => "Ubuntu",
            Some(OperatingSystem::Raspbian) => "Raspbian",
            Some(OperatingSystem::RedhatEnterpriseLinux) => "RedhatEnterpriseLinux",
            Some(OperatingSystem::RockyLinux) => "RockyLinux",
            Some(OperatingSystem::AlmaLinux) => "AlmaLinux",
            Some(OperatingSystem::OracleLinux) => "OracleLinux",
            Some(OperatingSystem::Centos) => "CentOS",
            Some(OperatingSystem::Suse) => "Suse",
            Some(OperatingSystem::AmazonLinux2) => return "AmazonLinux2.0".to_owned(),
            Some(os) if os.as_str().starts_with("AMAZON") => "AmazonLinux",
            _ => self.id.as_str(),
        };
        format!("{name}{}", self.version_id)
    }
}
