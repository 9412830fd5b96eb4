"""CRC32C of bytes: by the CPU's instruction where it has one, else by tables. Documented in `_crc32c.pyi`."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint32_t


cdef extern from "storage/_crc32c.h" nogil:
    ctypedef uint32_t (*crc32c_function)(uint32_t crc, const unsigned char *data, size_t length) noexcept nogil
    uint32_t crc32c_table(uint32_t crc, const unsigned char *data, size_t length)
    crc32c_function crc32c_prepare()


# Below this a buffer takes less time (4 us) than giving the GIL up and waiting for it again may cost.
cdef enum:
    NOGIL_BYTES = 32768

cdef crc32c_function fastest = crc32c_prepare()

has_instruction = fastest != crc32c_table


cdef uint32_t run(crc32c_function function, object data, uint32_t value) except? 0xFFFFFFFF:
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        if view.len < NOGIL_BYTES:
            return function(value, <const unsigned char *> view.buf, <size_t> view.len)
        with nogil:
            value = function(value, <const unsigned char *> view.buf, <size_t> view.len)
        return value
    finally:
        PyBuffer_Release(&view)


def crc32c(data, uint32_t value=0):
    return run(fastest, data, value)


def crc32c_by_table(data, uint32_t value=0):
    return run(crc32c_table, data, value)
