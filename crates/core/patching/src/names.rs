//! The closed lists of the SSM model that patching uses, with their spelling in the API.

use serde::{Deserialize, Serialize};

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in the API.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

macro_rules! parsed_exactly {
    ($($name:ident),+) => {$(
        impl $name {
            /// From the name in the API, spelled exactly.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text)
            }
        }
    )+};
}

named! {
    /// What a patch filter looks at (SSM model, `PatchFilterKey`).
    #[allow(missing_docs)]
    PatchFilterKey {
        Arch = "ARCH",
        AdvisoryId = "ADVISORY_ID",
        BugzillaId = "BUGZILLA_ID",
        PatchSet = "PATCH_SET",
        Product = "PRODUCT",
        ProductFamily = "PRODUCT_FAMILY",
        Classification = "CLASSIFICATION",
        CveId = "CVE_ID",
        Epoch = "EPOCH",
        MsrcSeverity = "MSRC_SEVERITY",
        Name = "NAME",
        PatchId = "PATCH_ID",
        Section = "SECTION",
        Priority = "PRIORITY",
        Repository = "REPOSITORY",
        Release = "RELEASE",
        Severity = "SEVERITY",
        Security = "SECURITY",
        Version = "VERSION",
    }
}

named! {
    /// How bad it is that an approved patch is not there; not the vendor's severity. Ordered: `Critical` is the greatest.
    #[derive(Default)]
    #[allow(missing_docs)]
    ComplianceLevel {
        #[default]
        Unspecified = "UNSPECIFIED",
        Informational = "INFORMATIONAL",
        Low = "LOW",
        Medium = "MEDIUM",
        High = "HIGH",
        Critical = "CRITICAL",
    }
}

named! {
    /// What becomes of the packages in a baseline's list of rejected patches.
    #[derive(Default)]
    RejectedPatchesAction {
        /// Never chosen, but installed where an approved package needs them; where installed, they comply.
        #[default]
        AllowAsDependency = "ALLOW_AS_DEPENDENCY",
        /// Never installed, nor what needs them; where installed, they do not comply.
        Block = "BLOCK",
    }
}

named! {
    /// How a security update that no rule approves counts. Windows only.
    #[allow(missing_docs)]
    AvailableSecurityUpdates {
        Compliant = "COMPLIANT",
        NonCompliant = "NON_COMPLIANT",
    }
}

named! {
    /// What a patch run does.
    PatchOperation {
        /// Looks and reports; changes nothing.
        Scan = "Scan",
        /// Installs what is missing, then reports.
        Install = "Install",
    }
}

named! {
    /// Whether a reboot may follow an installation.
    #[derive(Default)]
    RebootOption {
        /// As [`RebootPolicy`] says.
        #[default]
        RebootIfNeeded = "RebootIfNeeded",
        /// Never.
        NoReboot = "NoReboot",
    }
}

named! {
    /// What "if needed" means for a reboot.
    #[derive(Default)]
    RebootPolicy {
        /// The distribution's own signal, or a package changed that runs since boot.
        #[default]
        Needed = "needed",
        /// After any installation, as AWS does.
        Aws = "aws",
    }
}

named! {
    /// The state of a patch on a node (SSM model, `PatchComplianceDataState`).
    PatchState {
        /// Approved by the baseline and present, whoever installed it.
        Installed = "INSTALLED",
        /// Present, but not approved by the baseline.
        InstalledOther = "INSTALLED_OTHER",
        /// Installed; the node has not been rebooted since.
        InstalledPendingReboot = "INSTALLED_PENDING_REBOOT",
        /// Present although the baseline rejects and blocks it.
        InstalledRejected = "INSTALLED_REJECTED",
        /// Approved, applicable and absent.
        Missing = "MISSING",
        /// Approved; its installation was tried in the last run and failed.
        Failed = "FAILED",
        /// Approved, but nothing it applies to is there. Not used for Linux.
        NotApplicable = "NOT_APPLICABLE",
        /// A security update exists that is not approved. Windows only.
        AvailableSecurityUpdate = "AVAILABLE_SECURITY_UPDATE",
    }
}

parsed_exactly!(
    PatchFilterKey,
    ComplianceLevel,
    RejectedPatchesAction,
    AvailableSecurityUpdates,
    PatchOperation,
    RebootOption,
    RebootPolicy
);

impl PatchState {
    /// The spelling that the real service puts on the wire, e.g. `InstalledOther`; the model's enum is another.
    #[must_use]
    pub fn wire_name(self) -> &'static str {
        match self {
            Self::Installed => "Installed",
            Self::InstalledOther => "InstalledOther",
            Self::InstalledPendingReboot => "InstalledPendingReboot",
            Self::InstalledRejected => "InstalledRejected",
            Self::Missing => "Missing",
            Self::Failed => "Failed",
            Self::NotApplicable => "NotApplicable",
            Self::AvailableSecurityUpdate => "AvailableSecurityUpdate",
        }
    }

    /// From either spelling: `INSTALLED_OTHER` or `InstalledOther`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.as_str() == text || state.wire_name() == text)
    }

    /// Whether a patch in this state keeps its node from complying.
    #[must_use]
    pub fn is_non_compliant(self) -> bool {
        matches!(self, Self::Missing | Self::Failed | Self::InstalledRejected | Self::InstalledPendingReboot)
    }

    /// Whether the API gives title, classification and severity; for the others it leaves them empty.
    #[must_use]
    pub fn shows_details(self) -> bool {
        !matches!(self, Self::InstalledOther | Self::NotApplicable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_in_both_spellings_and_written_in_camel_case() {
        for state in PatchState::ALL {
            assert_eq!(PatchState::parse(state.as_str()), Some(*state));
            assert_eq!(PatchState::parse(state.wire_name()), Some(*state));
        }
        assert_eq!(PatchState::InstalledOther.wire_name(), "InstalledOther");
        assert_eq!(PatchState::parse("installedother"), None);
    }

    #[test]
    fn compliance_levels_are_ordered_from_critical_down_to_unspecified() {
        use ComplianceLevel::{Critical, High, Informational, Low, Medium, Unspecified};
        assert!(Critical > High && High > Medium && Medium > Low && Low > Informational && Informational > Unspecified);
        assert_eq!(ComplianceLevel::parse("CRITICAL"), Some(Critical));
        assert_eq!(ComplianceLevel::parse("Critical"), None);
    }

    #[test]
    fn names_survive_json() {
        for key in PatchFilterKey::ALL {
            let text = serde_json::to_string(key).unwrap();
            assert_eq!(text, format!("\"{key}\""));
            assert_eq!(serde_json::from_str::<PatchFilterKey>(&text).unwrap(), *key);
        }
        assert_eq!(PatchFilterKey::ALL.len(), 19);
    }
}
