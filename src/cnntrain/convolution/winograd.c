/* The transforms of Winograd's convolution F(4x4, 3x3) (Lavin & Gray 2015, section 4.3), in float32.
 *
 * An output of 4x4 pixels is computed from a tile of 6x6 of the input: both the tile and the 3x3 filter are
 * transformed to 6x6 points, multiplied point by point and summed over channels, and transformed back. Sums over
 * channels are matrix products, which the caller makes.
 *
 * Images are (images, height, width, channels), contiguous; points are (36, tiles, channels). The number of
 * channels is a multiple of 8; 16 of them, or the last 8, are computed at once.
 */
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

typedef float lanes __attribute__((vector_size(64)));
typedef int64_t whole;

typedef struct {
    whole images, height, width, channels; /* of the image */
    whole padding;                         /* of the input; 0 for the output */
    whole rows, columns;                   /* of tiles */
} shape;

INLINE lanes load(const float *from, int n) {
    lanes value = {0};
    memcpy(&value, from, sizeof(float) * n);
    return value;
}

INLINE void store(float *to, lanes value, int n) { memcpy(to, &value, sizeof(float) * n); }

/* B'd for 6 values that lie `from` apart, written `to` apart. */
INLINE void input_points(const lanes *d, int from, lanes *out, int to) {
    lanes d0 = d[0], d1 = d[from], d2 = d[2 * from], d3 = d[3 * from], d4 = d[4 * from], d5 = d[5 * from];
    out[0] = 4.f * d0 - 5.f * d2 + d4;
    out[to] = -4.f * (d1 + d2) + d3 + d4;
    out[2 * to] = 4.f * (d1 - d2) - d3 + d4;
    out[3 * to] = 2.f * (d3 - d1) + d4 - d2;
    out[4 * to] = 2.f * (d1 - d3) + d4 - d2;
    out[5 * to] = 4.f * d1 - 5.f * d3 + d5;
}

/* Bm, the adjoint of input_points. */
INLINE void points_to_input(const lanes *m, int from, lanes *out, int to) {
    lanes m0 = m[0], m1 = m[from], m2 = m[2 * from], m3 = m[3 * from], m4 = m[4 * from], m5 = m[5 * from];
    out[0] = 4.f * m0;
    out[to] = 4.f * (m2 - m1 + m5) + 2.f * (m4 - m3);
    out[2 * to] = -5.f * m0 - 4.f * (m1 + m2) - m3 - m4;
    out[3 * to] = m1 - m2 + 2.f * (m3 - m4) - 5.f * m5;
    out[4 * to] = m0 + m1 + m2 + m3 + m4;
    out[5 * to] = m5;
}

/* A'm: 4 values of 6. */
INLINE void points_to_output(const lanes *m, int from, lanes *out, int to) {
    lanes m0 = m[0], m5 = m[5 * from];
    lanes sum = m[from] + m[2 * from], difference = m[from] - m[2 * from];
    lanes sum2 = m[3 * from] + m[4 * from], difference2 = m[3 * from] - m[4 * from];
    out[0] = m0 + sum + sum2;
    out[to] = difference + 2.f * difference2;
    out[2 * to] = sum + 4.f * sum2;
    out[3 * to] = difference + 8.f * difference2 + m5;
}

/* Ay, the adjoint of points_to_output: 6 values of 4. */
INLINE void output_points(const lanes *y, int from, lanes *out, int to) {
    lanes y0 = y[0], y1 = y[from], y2 = y[2 * from], y3 = y[3 * from];
    lanes even = y0 + y2, odd = y1 + y3, even4 = y0 + 4.f * y2, odd4 = 2.f * y1 + 8.f * y3;
    out[0] = y0;
    out[to] = even + odd;
    out[2 * to] = even - odd;
    out[3 * to] = even4 + odd4;
    out[4 * to] = even4 - odd4;
    out[5 * to] = y3;
}

/* Where the tile `t` begins: its image, and the first row and column in it. */
INLINE float *place(const float *images, shape s, whole t, whole *row, whole *column) {
    whole in_image = t % (s.rows * s.columns);
    *row = in_image / s.columns * 4 - s.padding;
    *column = in_image % s.columns * 4 - s.padding;
    return (float *)images + t / (s.rows * s.columns) * s.height * s.width * s.channels;
}

INLINE int inside(shape s, whole row, whole column) {
    return row >= 0 && row < s.height && column >= 0 && column < s.width;
}

/* Points of `side`x`side` pixels of tile t, for n channels from c on. */
INLINE void one_to_points(const float *images, float *points, shape s, whole t, whole c, int n, int side) {
    whole row, column, tiles = s.images * s.rows * s.columns;
    const float *image = place(images, s, t, &row, &column);
    lanes pixels[36], half[36], all[36];
    for (int i = 0; i < side; i++)
        for (int j = 0; j < side; j++)
            pixels[side * i + j] = inside(s, row + i, column + j)
                ? load(image + ((row + i) * s.width + column + j) * s.channels + c, n)
                : (lanes){0};
    for (int j = 0; j < side; j++)
        side == 6 ? input_points(pixels + j, 6, half + j, 6) : output_points(pixels + j, 4, half + j, 4);
    for (int i = 0; i < 6; i++)
        side == 6 ? input_points(half + 6 * i, 1, all + 6 * i, 1) : output_points(half + 4 * i, 1, all + 6 * i, 1);
    for (int k = 0; k < 36; k++) store(points + (k * tiles + t) * s.channels + c, all[k], n);
}

/* Pixels from the points of tile t, for n channels from c on: written with a bias, or added (6x6). */
INLINE void one_from_points(
    const float *points, const float *bias, float *images, shape s, whole t, whole c, int n, int side) {
    whole row, column, tiles = s.images * s.rows * s.columns;
    float *image = place(images, s, t, &row, &column);
    lanes all[36], half[36], pixels[36], offset = bias ? load(bias + c, n) : (lanes){0};
    for (int k = 0; k < 36; k++) all[k] = load(points + (k * tiles + t) * s.channels + c, n);
    for (int j = 0; j < 6; j++)
        side == 6 ? points_to_input(all + j, 6, half + j, 6) : points_to_output(all + j, 6, half + j, 6);
    for (int i = 0; i < side; i++)
        side == 6 ? points_to_input(half + 6 * i, 1, pixels + 6 * i, 1)
                  : points_to_output(half + 6 * i, 1, pixels + 4 * i, 1);
    for (int i = 0; i < side; i++)
        for (int j = 0; j < side; j++) {
            if (!inside(s, row + i, column + j)) continue;
            float *pixel = image + ((row + i) * s.width + column + j) * s.channels + c;
            store(pixel, pixels[side * i + j] + (side == 6 ? load(pixel, n) : offset), n);
        }
}

#define OVER_CHANNELS(call)                                  \
    for (whole c = 0; c < s.channels; c += 16) {             \
        if (s.channels - c >= 16) { const int n = 16; call; } \
        else { const int n = 8; call; }                      \
    }

/* points = B'dB of each tile of the input. */
void input_to_points(const float *images, float *points, shape s) {
    whole tiles = s.images * s.rows * s.columns;
#pragma omp parallel for schedule(static)
    for (whole t = 0; t < tiles; t++) OVER_CHANNELS(one_to_points(images, points, s, t, c, n, 6))
}

/* points = AyA' of each tile of the output, the adjoint of points_to_images. */
void output_to_points(const float *images, float *points, shape s) {
    whole tiles = s.images * s.rows * s.columns;
#pragma omp parallel for schedule(static)
    for (whole t = 0; t < tiles; t++) OVER_CHANNELS(one_to_points(images, points, s, t, c, n, 4))
}

/* The output: A'mA of the points of each tile, and a bias, which may be NULL. */
void points_to_images(const float *points, const float *bias, float *images, shape s) {
    whole tiles = s.images * s.rows * s.columns;
#pragma omp parallel for schedule(static)
    for (whole t = 0; t < tiles; t++) OVER_CHANNELS(one_from_points(points, bias, images, s, t, c, n, 4))
}

/* The sums over tiles, which overlap, of BmB': the adjoint of input_to_points. */
void points_to_input_gradient(const float *points, float *images, shape s) {
    whole of_image = s.rows * s.columns;
#pragma omp parallel for schedule(static)
    for (whole number = 0; number < s.images; number++) {
        whole pixels = s.height * s.width * s.channels;
        memset(images + number * pixels, 0, sizeof(float) * pixels);
        for (whole t = number * of_image; t < (number + 1) * of_image; t++)
            OVER_CHANNELS(one_from_points(points, 0, images, s, t, c, n, 6))
    }
}
