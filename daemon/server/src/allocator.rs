//! Where this program's memory comes from.
//!
//! A pass through a layer makes and drops tensors of megabytes. glibc's allocator returns such memory to the system and asks for it again, a page
//! at a time, and keeps a heap for each thread that steps run on. jemalloc keeps it for a moment, and takes huge pages where the system gives
//! them on request, so that reading weights misses fewer translations of addresses.

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What was freed goes back to the system within half a minute, also while nothing is allocated: an idle daemon should be small. Sooner, and
/// also large tensors at once as is jemalloc's habit, it would go back and come again in each step. One arena: a step runs on whichever thread of the
/// pool takes it, and with an arena each, memory that one step freed is not there for the next.
#[cfg(target_os = "linux")]
const OPTIONS: &[u8] =
    b"thp:always,metadata_thp:auto,narenas:1,oversize_threshold:0,dirty_decay_ms:30000,muzzy_decay_ms:0,background_thread:true\0";

/// jemalloc reads this symbol before the first allocation, a pointer to its options. Elsewhere it would complain of those that are Linux's own.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a symbol of this name is what jemalloc asks the linker for")]
// SAFETY: nothing else has this name; the type is the `const char *` that jemalloc declares, and the text ends with a zero.
#[unsafe(export_name = "_rjem_malloc_conf")]
static JEMALLOC_OPTIONS: Option<&'static u8> = Some(&OPTIONS[0]);
