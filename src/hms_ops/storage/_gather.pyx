"""Rows of many slabs and tiles gathered by (step, place) and merged. Documented in `_gather.pyi`."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

import numpy as np

cdef enum:
    FIELDS = 6
    NOGIL_ROWS = 4096       # fewer take less time than giving the GIL up and waiting for it again may cost
    CELLS_MAX = 1 << 26

cells_max = CELLS_MAX

ctypedef struct cell_t:
    double count            # 0: empty, and the rest says nothing
    double sum
    double m2
    double low
    double high
    double last


cdef inline void cell_merge(cell_t* c, double count, double total, double m2, double low, double high, double last
                            ) noexcept nogil:
    """Chan, Golub, LeVeque 1979; the row is the later one."""
    cdef double away
    if c.count == 0:
        c.count, c.sum, c.m2, c.low, c.high, c.last = count, total, m2, low, high, last
        return
    away = total / count - c.sum / c.count
    c.m2 += m2 + away * away * (c.count * count / (c.count + count))
    c.count += count
    c.sum += total
    if low < c.low:
        c.low = low
    if high > c.high:
        c.high = high
    c.last = last


cdef class Gather:
    cdef object _ids, _steps, _places, _columns
    cdef const uint32_t[::1] ids
    cdef int64_t[::1] steps, places
    cdef double[:, ::1] columns
    cdef cell_t* cells
    cdef Py_ssize_t n, cells_there, step_count, rows, room, step_rows
    cdef int64_t first_step, step_seconds
    cdef bint is_dirty

    def __cinit__(self, ids not None, int64_t step_seconds, Py_ssize_t rows_expected=0):
        self._ids = np.ascontiguousarray(ids, np.uint32)
        self.ids = self._ids
        self.n = self.ids.shape[0]
        if step_seconds < 1:
            raise ValueError(f"steps of {step_seconds} s")
        self.step_seconds = step_seconds
        self._make_room(max(rows_expected, 16))

    def __dealloc__(self):
        free(self.cells)

    cdef _make_room(self, Py_ssize_t room):
        steps, places, columns = np.empty(room, np.int64), np.empty(room, np.int64), np.empty((FIELDS, room))
        if self.rows:
            steps[:self.rows] = self._steps[:self.rows]
            places[:self.rows] = self._places[:self.rows]
            columns[:, :self.rows] = self._columns[:, :self.rows]
        self._steps, self._places, self._columns = steps, places, columns
        self.steps, self.places, self.columns = steps, places, columns
        self.room = room

    def begin(self, int64_t first_step, Py_ssize_t steps):
        cdef Py_ssize_t cells = steps * self.n
        if steps < 0 or (self.n and steps > <Py_ssize_t> CELLS_MAX // self.n):
            raise ValueError(f"{steps} steps of {self.n} series are more than {CELLS_MAX} cells")
        if cells > self.cells_there:
            free(self.cells)
            self.cells_there = 0
            self.cells = <cell_t*> calloc(cells, sizeof(cell_t))
            if self.cells == NULL:
                raise MemoryError(f"{cells} cells")
            self.cells_there = cells
        elif self.is_dirty:
            memset(self.cells, 0, self.cells_there * sizeof(cell_t))
        self.is_dirty = False
        self.first_step = first_step
        self.step_count = steps

    def take(self, const int64_t[:] steps not None, const uint32_t[:] ids not None, const double[:, :] columns not None):
        self._check(steps.shape[0], ids.shape[0], columns)
        if steps.shape[0] < NOGIL_ROWS:
            self._take(steps, ids, columns)
        else:
            with nogil:
                self._take(steps, ids, columns)

    cdef void _take(self, const int64_t[:] steps, const uint32_t[:] ids, const double[:, :] columns) noexcept nogil:
        cdef Py_ssize_t i, place = 0, row = -1
        cdef int64_t step = 0
        cdef uint32_t wanted
        for i in range(steps.shape[0]):
            wanted = ids[i]
            if place >= self.n or self.ids[place] != wanted:
                place = self._place(wanted, place)
                if place < 0:
                    place = 0
                    continue
            if row >= 0 and steps[i] == step + self.step_seconds:
                row += 1            # the usual case, without a division
            elif row < 0 or steps[i] != step:
                row = self._row(steps[i])
            step = steps[i]
            self._put(row, place, columns, i)

    cdef Py_ssize_t _place(self, uint32_t wanted, Py_ssize_t near) noexcept nogil:
        """Of an id among those asked for, -1 when it is none of them."""
        cdef Py_ssize_t low = 0, high = self.n, middle
        if near + 1 < self.n and self.ids[near + 1] == wanted:
            return near + 1
        while low < high:
            middle = (low + high) >> 1
            if self.ids[middle] < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < self.n and self.ids[low] == wanted else -1

    def take_places(
        self, const int64_t[:] steps not None, const int64_t[:] places not None, const double[:, :] columns not None
    ):
        self._check(steps.shape[0], places.shape[0], columns)
        if steps.shape[0] < NOGIL_ROWS:
            self._take_places(steps, places, columns)
        else:
            with nogil:
                self._take_places(steps, places, columns)

    cdef void _take_places(
        self, const int64_t[:] steps, const int64_t[:] places, const double[:, :] columns
    ) noexcept nogil:
        cdef Py_ssize_t i, row = -1
        cdef int64_t step = 0
        for i in range(steps.shape[0]):
            if row < 0 or steps[i] != step:
                row = self._row(steps[i])
                step = steps[i]
            if 0 <= places[i] < self.n:
                self._put(row, places[i], columns, i)

    cdef _check(self, Py_ssize_t steps, Py_ssize_t places, const double[:, :] columns):
        if steps != places or columns.shape[0] != FIELDS or columns.shape[1] != steps:
            raise ValueError(f"{steps} steps, {places} places, columns [{columns.shape[0]}, {columns.shape[1]}]")

    cdef inline Py_ssize_t _row(self, int64_t step) noexcept nogil:
        """Of the grid, -1 for a step before it."""
        return (step - self.first_step) // self.step_seconds if step >= self.first_step else -1

    cdef inline void _put(self, Py_ssize_t row, Py_ssize_t place, const double[:, :] columns, Py_ssize_t i) noexcept nogil:
        if not 0 <= row < self.step_count or not columns[0, i] > 0:
            return
        self.is_dirty = True
        cell_merge(&self.cells[row * self.n + place], columns[0, i], columns[1, i], columns[2, i], columns[3, i],
                   columns[4, i], columns[5, i])

    def end(self):
        cdef Py_ssize_t rows
        if not self.is_dirty:
            return 0
        rows = self._count()
        if self.rows + rows > self.room:
            self._make_room(max(self.rows + rows, self.room + self.room // 2))
        if rows < NOGIL_ROWS:
            self._emit()
        else:
            with nogil:
                self._emit()
        self.is_dirty = False
        return rows

    cdef Py_ssize_t _count(self) noexcept nogil:
        cdef Py_ssize_t i, rows = 0
        for i in range(self.step_count * self.n):
            rows += self.cells[i].count > 0
        return rows

    cdef void _emit(self) noexcept nogil:
        """Cells go back to empty, so that the next block finds them so."""
        cdef Py_ssize_t at, place, row = self.rows
        cdef int64_t step
        cdef cell_t* c = self.cells
        cdef double* count = &self.columns[0, 0]
        cdef double* total = &self.columns[1, 0]
        cdef double* m2 = &self.columns[2, 0]
        cdef double* low = &self.columns[3, 0]
        cdef double* high = &self.columns[4, 0]
        cdef double* last = &self.columns[5, 0]
        for at in range(self.step_count):
            step = self.first_step + at * self.step_seconds
            for place in range(self.n):
                if c.count > 0:
                    self.steps[row] = step
                    self.places[row] = place
                    count[row], total[row], m2[row] = c.count, c.sum, c.m2
                    low[row], high[row], last[row] = c.low, c.high, c.last
                    row += 1
                    c.count = 0
                c += 1
        self.rows = row

    def result(self):
        if self.rows == self.room:
            return self._steps, self._places, self._columns
        steps, places, columns = self._steps[:self.rows], self._places[:self.rows], self._columns[:, :self.rows]
        if self.rows < self.room // 2:
            return steps.copy(), places.copy(), columns.copy()
        return steps, places, columns


def fold_rows(const int64_t[:] places not None, const double[:, :] rows not None, double[:, :] columns not None):
    """In the order of the rows."""
    cdef Py_ssize_t i, place, n = columns.shape[1]
    cdef cell_t c
    if rows.shape[0] != FIELDS or columns.shape[0] != FIELDS or rows.shape[1] != places.shape[0]:
        raise ValueError(f"{places.shape[0]} places, rows [{rows.shape[0]}, {rows.shape[1]}] into {columns.shape[0]}")
    with nogil:
        for i in range(places.shape[0]):
            place = places[i]
            if place < 0 or place >= n or not rows[0, i] > 0:
                continue
            c.count, c.sum, c.m2 = columns[0, place], columns[1, place], columns[2, place]
            c.low, c.high, c.last = columns[3, place], columns[4, place], columns[5, place]
            cell_merge(&c, rows[0, i], rows[1, i], rows[2, i], rows[3, i], rows[4, i], rows[5, i])
            columns[0, place], columns[1, place], columns[2, place] = c.count, c.sum, c.m2
            columns[3, place], columns[4, place], columns[5, place] = c.low, c.high, c.last


def pick_blobs(const unsigned char[::1] data not None, const int64_t[:] offsets not None, const int64_t[:] index not None):
    cdef Py_ssize_t i, k, n = index.shape[0], blobs = offsets.shape[0] - 1
    cdef int64_t end = 0, begin
    cdef char* out
    picked = np.zeros(n + 1, np.int64)
    cdef int64_t[::1] at = picked
    for i in range(n):
        k = index[i]
        if not 0 <= k < blobs or not 0 <= offsets[k] <= offsets[k + 1] <= data.shape[0]:
            raise ValueError(f"blob {k} of {blobs} is not there")
        end += offsets[k + 1] - offsets[k]
        at[i + 1] = end
    result = PyBytes_FromStringAndSize(NULL, end)
    out = PyBytes_AS_STRING(result)
    with nogil:
        for i in range(n):
            begin = offsets[index[i]]
            if at[i + 1] > at[i]:
                memcpy(out + at[i], &data[begin], at[i + 1] - at[i])
    return result, picked
