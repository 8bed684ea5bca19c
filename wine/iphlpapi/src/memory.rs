//! Tables that the caller frees with `FreeMibTable`, which is wine's own and frees from the heap of the process.

use core::ffi::c_void;

use windows_sys::Win32::Foundation::ERROR_NOT_ENOUGH_MEMORY;

#[link(name = "kernel32", kind = "raw-dylib")]
unsafe extern "system" {
    fn GetProcessHeap() -> *mut c_void;
    fn HeapAlloc(heap: *mut c_void, flags: u32, bytes: usize) -> *mut c_void;
}

const HEAP_ZERO_MEMORY: u32 = 8;

/// A table: the number of rows, and the rows from `offset` on.
pub(crate) fn table<Row: Copy>(rows: &[Row], offset: usize) -> Result<*mut c_void, u32> {
    let count = u32::try_from(rows.len()).map_err(|_| ERROR_NOT_ENOUGH_MEMORY)?;
    // A table without rows still has room for one, as its type says.
    let bytes = offset + size_of::<Row>() * rows.len().max(1);
    // SAFETY: allocates; nothing is passed but numbers.
    let memory = unsafe { HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, bytes) };
    if memory.is_null() {
        return Err(ERROR_NOT_ENOUGH_MEMORY);
    }
    // SAFETY: the heap aligns to 16 bytes; the memory has room for the number at its start and for all rows at
    // `offset`, which the caller takes from the table's type and which aligns them.
    unsafe {
        memory.cast::<u32>().write(count);
        std::ptr::copy_nonoverlapping(rows.as_ptr(), memory.byte_add(offset).cast::<Row>(), rows.len());
    }
    Ok(memory)
}
