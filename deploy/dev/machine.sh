# What this machine lacks to run the kernel programs: each check prints one sentence and fails, or prints nothing. Sourced by lib.sh.

KERNEL_OLDEST=6.1

# check_kernel RELEASE: as `uname -r` says it.
check_kernel() {
    at_least "$1" "$KERNEL_OLDEST" || {
        echo "the kernel $1 is too old: $KERNEL_OLDEST is the oldest on which the programs are tested"
        return 1
    }
}

# check_btf FILE
check_btf() {
    [ -r "$1" ] || {
        echo "the kernel has no BTF ($1 is not there): boot one that was built with CONFIG_DEBUG_INFO_BTF"
        return 1
    }
}

# check_bpffs FILE: the kernel's list of file systems.
check_bpffs() {
    grep --quiet --word-regexp bpf "$1" || {
        echo "the kernel has no BPF file system ($1 does not name it): boot one that was built with CONFIG_BPF_SYSCALL"
        return 1
    }
}

# check_bpf RESULT: as try_bpf says it.
check_bpf() {
    case "$1" in
        ok) return 0 ;;
        ENOSYS) echo 'the kernel has no BPF system call: boot one that was built with CONFIG_BPF_SYSCALL' ;;
        EPERM) echo 'the BPF system call is forbidden to this process: a container needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON and a seccomp profile that lets bpf pass' ;;
        *) echo "the BPF system call does not work here: it ends with $1" ;;
    esac
    return 1
}

# try_bpf: makes the smallest BPF map there is, and prints `ok` or the name of the error.
try_bpf() {
    python3 - <<'PYTHON'
import ctypes, errno, os, platform, struct
number = {"x86_64": 321, "aarch64": 280}.get(platform.machine(), 280)
BPF_MAP_CREATE, BPF_MAP_TYPE_ARRAY = 0, 2
attributes = struct.pack("=IIII", BPF_MAP_TYPE_ARRAY, 4, 4, 1).ljust(128, b"\0")
libc = ctypes.CDLL(None, use_errno=True)
descriptor = libc.syscall(number, BPF_MAP_CREATE, ctypes.c_char_p(attributes), len(attributes))
print("ok" if descriptor >= 0 else errno.errorcode.get(ctypes.get_errno(), ctypes.get_errno()))
PYTHON
}

# check_namespaces COMMAND...: the command that makes them.
check_namespaces() {
    "$@" true 2>/dev/null || {
        echo 'network and mount namespaces cannot be made here: a container needs CAP_SYS_ADMIN and a seccomp profile that lets unshare pass'
        return 1
    }
}

# check_machine: says everything that is lacking, and fails if anything is.
check_machine() {
    local lacking=0
    check_kernel "$(uname -r)" || lacking=1
    check_btf /sys/kernel/btf/vmlinux || lacking=1
    check_bpffs /proc/filesystems || lacking=1
    check_bpf "$(try_bpf)" || lacking=1
    check_namespaces unshare --net --mount --propagation private || lacking=1
    return "$lacking"
}
