//! The guest's kernel: Debian's own, unpacked beside the build and never installed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use homeward_net::tool::{find_tool, tool};

/// The first program of the guest.
const INIT: &str = include_str!("init");

/// What the initramfs must load before it can see the host's file system.
const EARLY_MODULES: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];

/// What is left in a kernel's package: drivers for machines and file systems that the guest has not.
const UNUSED: [&str; 9] = [
    "./boot/[!v]*",
    "./usr/share",
    "*/kernel/sound",
    // Of the drivers, those of networks and of virtual machines are wanted.
    "*/kernel/drivers/[!nv]*",
    "*/kernel/drivers/net/ethernet",
    "*/kernel/drivers/net/wireless/[!mv]*",
    "*/kernel/drivers/net/wireless/marvell",
    "*/kernel/drivers/net/wireless/mediatek",
    "*/kernel/fs/[!9fno]*",
];

/// The host's programs that the lab runs, with the Debian package of each.
const TOOLS: [(&str, &str); 17] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("tar", "tar"),
    ("xz", "xz-utils"),
    ("depmod", "kmod"),
    ("modprobe", "kmod"),
    ("setpriv", "util-linux"),
    ("apt-cache", "apt"),
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
    ("hostapd", "hostapd"),
    ("wpa_supplicant", "wpasupplicant"),
    ("iw", "iw"),
    ("ip", "iproute2"),
    ("dnsmasq", "dnsmasq-base"),
    ("tcpdump", "tcpdump"),
];

/// A kernel that is ready to boot.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// Uncompressed, for QEMU's PVH entry: unpacking a bzImage takes an emulated CPU 4 s.
    pub image: PathBuf,
    /// The first file system.
    pub initramfs: PathBuf,
    /// The folder that the guest mounts on `/lib/modules`.
    pub modules: PathBuf,
}

/// Checks that every program the lab needs is installed.
///
/// # Errors
/// Names the missing Debian packages and the command that installs them.
pub fn check_tools() -> Result<()> {
    let mut packages: Vec<_> = TOOLS
        .iter()
        .filter(|(program, _)| find_tool(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    packages.dedup();
    ensure!(
        packages.is_empty(),
        "the radio lab needs Debian's {}: run `make setup`, or `apt-get install --no-install-recommends {}`",
        packages.join(", "),
        packages.join(" ")
    );
    Ok(())
}

/// The kernel out of `cache`, fetched and unpacked there if this is the first time.
///
/// Processes that call this at once wait for the one that builds. What is half done when a
/// process dies is done anew by the next.
///
/// # Errors
/// Says which step failed, with that tool's own words.
pub fn prepare(cache: &Path) -> Result<Kernel> {
    fs::create_dir_all(cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let lock = File::create(cache.join("lock")).context("cannot make the kernel cache's lock")?;
    lock.lock().context("cannot lock the kernel cache")?;
    let current = cache.join("current");
    let version = match fs::read_to_string(&current) {
        Ok(version) if cache.join(&version).is_dir() => version,
        _ => {
            let version = fetch(cache)?;
            replace(&current, version.as_bytes())?;
            version
        }
    };
    let dir = cache.join(&version);
    // Named after what is in it, so that an edit to `init` is never masked by the cache.
    let initramfs = dir.join(format!("initramfs-{:016x}", fingerprint(INIT.as_bytes())));
    if !initramfs.exists() {
        build_initramfs(&dir, &version, &initramfs)?;
    }
    let modules = modules_of(&dir);
    Ok(Kernel { image: dir.join("vmlinux"), initramfs, modules })
}

/// Downloads and unpacks the kernel that apt offers now; returns its version.
fn fetch(cache: &Path) -> Result<String> {
    let depends = output(tool("apt-cache").args(["depends", "linux-image-amd64"]))?;
    let package = String::from_utf8_lossy(&depends)
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: ").map(str::to_owned))
        .context("apt knows no linux-image-amd64: run `apt-get update` first")?;
    let version = package
        .strip_prefix("linux-image-")
        .with_context(|| format!("linux-image-amd64 depends on {package}, which is no kernel"))?
        .to_owned();
    let dir = cache.join(&version);
    let building = cache.join(format!("{version}.new"));
    for old in [&dir, &building] {
        if old.exists() {
            fs::remove_dir_all(old).with_context(|| format!("cannot clear {}", old.display()))?;
        }
    }
    fs::create_dir_all(&building)?;
    // Root would otherwise be told that the sandbox user cannot write here.
    output(
        tool("apt-get")
            .args(["-qq", "-o", "APT::Sandbox::User=root", "download", &package])
            .current_dir(&building),
    )?;
    let deb = fs::read_dir(&building)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|e| e == "deb"))
        .with_context(|| format!("apt-get download {package} left no package behind"))?;
    let root = building.join("root");
    unpack_package(&deb, &root)?;
    fs::remove_file(&deb)?;
    if !root.join("lib").exists() {
        // Packages of Debian 13 and later put all below usr.
        std::os::unix::fs::symlink("usr/lib", root.join("lib"))?;
    }
    output(tool("depmod").arg("-b").arg(&root).arg(&version))?;
    let packed = fs::read(root.join("boot").join(format!("vmlinuz-{version}")))
        .with_context(|| format!("{package} holds no vmlinuz"))?;
    unpack_image(&packed, &building.join("vmlinux"))?;
    fs::rename(&building, &dir)?;
    Ok(version)
}

/// Unpacks what the guest may need of a kernel's package: a tenth of it.
fn unpack_package(deb: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let mut package = tool("dpkg-deb");
    package.arg("--fsys-tarfile").arg(deb).stdout(Stdio::piped());
    let mut child = package.spawn().context("cannot run dpkg-deb")?;
    let mut tar = tool("tar");
    tar.args(["--extract", "--no-same-owner", "--wildcards", "--anchored", "--directory"]).arg(to);
    for unused in UNUSED {
        tar.arg(format!("--exclude={unused}"));
    }
    if let Some(files) = child.stdout.take() {
        tar.stdin(files);
    }
    let unpacked = output(&mut tar);
    let status = child.wait().context("cannot wait for dpkg-deb")?;
    unpacked?;
    ensure!(status.success(), "dpkg-deb cannot read {}: {status}", deb.display());
    Ok(())
}

/// Unpacks the ELF image out of a bzImage (Linux x86 boot protocol 2.08: setup_sects at 0x1f1,
/// payload_offset at 0x248, payload_length at 0x24c).
fn unpack_image(bzimage: &[u8], to: &Path) -> Result<()> {
    let word = |at: usize| -> Option<usize> {
        let bytes = bzimage.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let payload = (|| {
        let setup_sectors = usize::from(*bzimage.get(0x1f1)?).max(1);
        let start = (setup_sectors + 1) * 512 + word(0x248)?;
        // The last four octets are the unpacked size.
        bzimage.get(start..start + word(0x24c)?.checked_sub(4)?)
    })()
    .context("the kernel image is no bzImage")?;
    ensure!(
        payload.starts_with(b"\xfd7zXZ\0"),
        "the kernel image is not packed with xz, the one compression that the lab unpacks"
    );
    let mut child = tool("xz")
        .args(["--decompress", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(File::create(to)?)
        .spawn()
        .context("cannot run xz")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(payload).context("xz does not take the kernel image")?;
    }
    ensure!(child.wait()?.success(), "xz cannot unpack the kernel image");
    Ok(())
}

fn build_initramfs(dir: &Path, version: &str, to: &Path) -> Result<()> {
    let tree = dir.join("initramfs.tree");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    for folder in ["bin", "dev", "proc", "sys", "host", "over", "root", "early"] {
        fs::create_dir_all(tree.join(folder))?;
    }
    fs::write(tree.join("init"), INIT)?;
    fs::set_permissions(tree.join("init"), fs::Permissions::from_mode(0o755))?;
    let busybox = find_tool("busybox").context("busybox is gone")?;
    fs::copy(busybox, tree.join("bin/busybox")).context("cannot copy busybox")?;
    let mut seen = Vec::new();
    for module in EARLY_MODULES {
        let listing = output(tool("modprobe").arg("--dirname").arg(dir.join("root")).args([
            "--set-version",
            version,
            "--show-depends",
            module,
        ]))?;
        for line in String::from_utf8_lossy(&listing).lines() {
            let Some(file) = line.strip_prefix("insmod ").map(|f| f.trim().to_owned()) else {
                continue;
            };
            if seen.contains(&file) {
                continue;
            }
            let name = Path::new(&file).file_name().unwrap_or_default().to_string_lossy();
            fs::copy(&file, tree.join("early").join(format!("{:03}-{name}", seen.len())))
                .with_context(|| format!("cannot copy {file}"))?;
            seen.push(file);
        }
    }
    let building = to.with_extension("new");
    let mut names = output(tool("find").arg(".").arg("-print0").current_dir(&tree))?;
    names.truncate(names.len().saturating_sub(1));
    let mut child = tool("cpio")
        .args(["--quiet", "--null", "--create", "--format=newc", "--owner=0:0"])
        .current_dir(&tree)
        .stdin(Stdio::piped())
        .stdout(File::create(&building)?)
        .spawn()
        .context("cannot run cpio")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&names)?;
    }
    ensure!(child.wait()?.success(), "cpio cannot pack the initramfs");
    fs::rename(&building, to)?;
    fs::remove_dir_all(&tree)?;
    Ok(())
}

fn modules_of(dir: &Path) -> PathBuf {
    // A bind mount does not follow the link `lib` of a package that puts all below usr.
    let below_usr = dir.join("root/usr/lib/modules");
    if below_usr.is_dir() { below_usr } else { dir.join("root/lib/modules") }
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let shown = shown(command);
    let done = command.output().with_context(|| format!("cannot run {shown}"))?;
    if !done.status.success() {
        // The tool's own words come first: what prints this may cut it short.
        bail!("{} ({shown}: {})", String::from_utf8_lossy(&done.stderr).trim(), done.status);
    }
    Ok(done.stdout)
}

/// As one would type it: `Command`'s own form lists the whole environment first.
fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, content).with_context(|| format!("cannot write {}", new.display()))?;
    fs::rename(&new, path).with_context(|| format!("cannot replace {}", path.display()))
}

/// FNV-1a.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_fails_is_heard_first_and_shown_as_it_was_called() {
        let error =
            output(tool("sh").args(["-c", "echo the disk is full >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("the disk is full (sh -c "), "{text}");
        assert!(text.ends_with("exit status: 3)"), "{text}");
        assert!(!text.contains("PATH="), "{text}");
    }

    #[test]
    fn what_is_no_kernel_image_is_refused() {
        let to = Path::new("/nonexistent/vmlinux");
        for (image, reason) in [(vec![0; 100], "no bzImage"), (vec![0; 0x300], "no bzImage")] {
            let error = unpack_image(&image, to).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let mut gzip = vec![0; 4096];
        gzip[0x24c] = 64;
        assert!(unpack_image(&gzip, to).unwrap_err().to_string().contains("not packed with xz"));
    }
}
