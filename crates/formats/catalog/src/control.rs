use crate::deb822::Stanza;

/// `Multi-Arch` (deb-control(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MultiArch {
    /// Absent, `no`, or a value that apt does not know.
    #[default]
    No,
    /// `same`.
    Same,
    /// `foreign`.
    Foreign,
    /// `allowed`.
    Allowed,
}

/// What apt tells two builds of one version apart by: if a rebuilt package stands under a version that another archive or
/// the host has too, apt treats the two as different versions of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Build {
    /// A digest of the hard relations and of the installed size, without blanks, case, `=` and epochs of 0, in which dpkg's
    /// database and a repository may differ for the same build.
    pub relations: u64,
    /// `Multi-Arch`.
    pub multi_arch: MultiArch,
    /// Whether the architecture is `all`.
    pub all: bool,
    /// `Size` of the archive file in bytes; 0 where it is not known (dpkg's database does not record it).
    pub size_bytes: u64,
}

impl Build {
    /// Whether apt takes both for one build.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let sizes = [self.size_bytes, other.size_bytes];
        self.relations == other.relations
            && self.multi_arch == other.multi_arch
            && self.all == other.all
            && (sizes.contains(&0) || self.size_bytes == other.size_bytes)
    }
}

/// The fields of a binary package's stanza that matter here; of repeated ones the last.
#[derive(Debug, Clone, Copy, Default)]
pub struct ControlFields<'a> {
    /// `Package`
    pub package: Option<&'a [u8]>,
    /// `Version`
    pub version: Option<&'a [u8]>,
    /// `Architecture`
    pub architecture: Option<&'a [u8]>,
    /// `Source`
    pub source: Option<&'a [u8]>,
    /// `Section`
    pub section: Option<&'a [u8]>,
    /// `Priority`
    pub priority: Option<&'a [u8]>,
    /// `Status`
    pub status: Option<&'a [u8]>,
    /// `Multi-Arch`
    pub multi_arch: Option<&'a [u8]>,
    /// `Size`
    pub size: Option<&'a [u8]>,
    /// `Phased-Update-Percentage`
    pub phased_update_percentage: Option<&'a [u8]>,
    /// `Installed-Size`, `Depends`, `Pre-Depends`, `Conflicts`, `Breaks`, `Replaces`: what makes a build, in this order.
    relations: [Option<&'a [u8]>; 6],
}

impl<'a> ControlFields<'a> {
    /// Reads a stanza once.
    #[must_use]
    pub fn read(stanza: &Stanza<'a>) -> Self {
        let mut fields = Self::default();
        for field in stanza.fields() {
            if let Some(slot) = fields.slot(field.name) {
                *slot = Some(field.value);
            }
        }
        fields
    }

    fn slot(&mut self, name: &[u8]) -> Option<&mut Option<&'a [u8]>> {
        let [installed_size, depends, pre_depends, conflicts, breaks, replaces] = &mut self.relations;
        let slots: [(&str, &mut Option<&'a [u8]>); 16] = [
            ("Package", &mut self.package),
            ("Status", &mut self.status),
            ("Version", &mut self.version),
            ("Architecture", &mut self.architecture),
            ("Source", &mut self.source),
            ("Section", &mut self.section),
            ("Priority", &mut self.priority),
            ("Multi-Arch", &mut self.multi_arch),
            ("Size", &mut self.size),
            ("Phased-Update-Percentage", &mut self.phased_update_percentage),
            ("Installed-Size", installed_size),
            ("Depends", depends),
            ("Pre-Depends", pre_depends),
            ("Conflicts", conflicts),
            ("Breaks", breaks),
            ("Replaces", replaces),
        ];
        slots.into_iter().find(|(wanted, _)| wanted.as_bytes().eq_ignore_ascii_case(name)).map(|(_, slot)| slot)
    }

    /// `Source` as name and, if it stands there, version: `name (version)`. `None` where the field is absent or empty.
    #[must_use]
    pub fn source_parts(&self) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        let source = self.source.filter(|source| !source.is_empty())?;
        let Some(blank) = source.iter().position(|&byte| byte == b' ') else {
            return Some((source, None));
        };
        let (name, rest) = source.split_at_checked(blank)?;
        let version = rest
            .iter()
            .position(|&byte| byte == b'(')
            .and_then(|open| rest.get(open + 1..))
            .and_then(|inside| inside.split(|&byte| byte == b')').next().filter(|version| version.len() < inside.len()))
            .map(<[u8]>::trim_ascii)
            .filter(|version| !version.is_empty());
        Some((name, version))
    }

    /// The build.
    #[must_use]
    pub fn build(&self) -> Build {
        let multi_arch = match self.multi_arch.unwrap_or_default() {
            b"same" if self.architecture != Some(b"all") => MultiArch::Same,
            b"foreign" => MultiArch::Foreign,
            b"allowed" => MultiArch::Allowed,
            _ => MultiArch::No,
        };
        let size_bytes = self.size.and_then(|size| std::str::from_utf8(size).ok()).and_then(|size| size.parse().ok());
        Build {
            relations: self.relations_digest(),
            multi_arch,
            all: self.architecture == Some(b"all"),
            size_bytes: size_bytes.unwrap_or(0),
        }
    }

    /// FNV-1a over what is left of the relations when what may differ between writers is taken away.
    fn relations_digest(&self) -> u64 {
        let mut digest: u64 = 0xcbf2_9ce4_8422_2325;
        for relation in self.relations.iter().flatten() {
            let mut bytes = relation.iter().peekable();
            while let Some(&byte) = bytes.next() {
                if byte == b'0' && bytes.peek() == Some(&&b':') {
                    bytes.next();
                } else if byte != b'=' && !byte.is_ascii_whitespace() {
                    digest = (digest ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x100_0000_01b3);
                }
            }
        }
        digest
    }
}
