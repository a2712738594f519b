// superkmeans.cpp — runs SuperKMeans (a header-only library, not part of this repository) on an array in a file.
//
// superkmeans ROWS N DIM START K ITERATIONS THREADS CENTRES: rows and start are raw float32; the rows are all used and
// early termination is off, as in its own end-to-end benchmark. It draws its start itself: rows change places
// beforehand so that it draws those of START. A small clustering warms threads and BLAS up. Prints one JSON line
// and writes the final centres.
// superkmeans sgemm: GFLOP/s of its BLAS.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <numeric>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "superkmeans/superkmeans.h"

using SuperKMeans = skmeans::SuperKMeans<skmeans::Quantization::f32, skmeans::DistanceFunction::l2>;

static std::vector<float> read_floats(const char *path, size_t n)
{
    std::vector<float> values(n);
    std::ifstream file(path, std::ios::binary);

    if (!file.read(reinterpret_cast<char *>(values.data()), static_cast<std::streamsize>(n * sizeof(float)))) {
        std::fprintf(stderr, "%s does not hold %zu numbers\n", path, n);
        std::exit(EXIT_FAILURE);
    }
    return values;
}

static double clock_seconds(clockid_t which)
{
    timespec now;

    clock_gettime(which, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

static double resident(const char *name)
{
    std::ifstream file("/proc/self/status");
    std::string line;

    while (std::getline(file, line))
        if (line.rfind(std::string(name) + ":", 0) == 0)
            return std::strtod(line.c_str() + std::strlen(name) + 1, nullptr) * 1024 / 1e6;
    return 0;
}

static skmeans::SuperKMeansConfig config_of(uint32_t iterations, uint32_t threads)
{
    skmeans::SuperKMeansConfig config;

    config.iters = iterations;
    config.n_threads = threads;
    config.sampling_fraction = 1.0f;
    config.early_termination = false;
    config.suppress_warnings = true;
    return config;
}

// The rows that it will draw: its own recipe, repeated.
static std::vector<size_t> drawn(size_t n, uint32_t seed)
{
    std::vector<size_t> order(n);
    std::mt19937 random(seed);

    std::iota(order.begin(), order.end(), size_t{0});
    std::shuffle(order.begin(), order.end(), random);
    return order;
}

static void put_start_there(std::vector<float> &rows, size_t n, size_t dim, const std::vector<float> &start, size_t k,
                            uint32_t seed)
{
    const std::vector<size_t> order = drawn(n, seed);
    std::unordered_multimap<std::string, size_t> where;
    const auto bytes = [dim](const float *row) {
        return std::string(reinterpret_cast<const char *>(row), dim * sizeof(float));
    };
    std::vector<size_t> at(n), place(n); // where a row lies now, and which row lies there

    std::iota(at.begin(), at.end(), size_t{0});
    std::iota(place.begin(), place.end(), size_t{0});
    for (size_t i = 0; i < n; i++)
        where.emplace(bytes(&rows[i * dim]), i);
    for (size_t j = 0; j < k; j++) {
        const auto found = where.find(bytes(&start[j * dim]));
        if (found == where.end()) {
            std::fprintf(stderr, "start %zu is not a row\n", j);
            std::exit(EXIT_FAILURE);
        }
        const size_t from = at[found->second], to = order[j], other = place[to];
        std::swap_ranges(&rows[from * dim], &rows[from * dim] + dim, &rows[to * dim]);
        std::swap(place[from], place[to]);
        at[found->second] = to;
        at[other] = from;
        where.erase(found);
    }
}

static void sgemm_rate()
{
    using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    const Matrix a = Matrix::Ones(2048, 2048), b = Matrix::Ones(2048, 2048);
    Matrix c(2048, 2048);
    double best = 1e9;

    for (int attempt = 0; attempt < 6; attempt++) {
        const double begin = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
        c.noalias() = a * b;
        best = std::min(best, clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - begin);
    }
    std::printf("%.1f\n", 2.0 * 2048 * 2048 * 2048 / best / 1e9);
}

int main(int argc, char **argv)
{
    if (argc == 2 && std::string(argv[1]) == "sgemm") {
        sgemm_rate();
        return EXIT_SUCCESS;
    }
    if (argc != 9) {
        std::fprintf(stderr, "superkmeans ROWS N DIM START K ITERATIONS THREADS CENTRES | sgemm\n");
        return EXIT_FAILURE;
    }
    const size_t n = std::strtoull(argv[2], nullptr, 10), dim = std::strtoull(argv[3], nullptr, 10),
                 k = std::strtoull(argv[5], nullptr, 10);
    const auto iterations = static_cast<uint32_t>(std::atoi(argv[6])), threads = static_cast<uint32_t>(std::atoi(argv[7]));
    const skmeans::SuperKMeansConfig config = config_of(iterations, threads);
    std::vector<float> rows = read_floats(argv[1], n * dim);

    put_start_there(rows, n, dim, read_floats(argv[4], k * dim), k, config.seed);
    {
        const size_t few = std::min<size_t>(n, 4096);
        SuperKMeans warm(std::min<size_t>(few / 8, k), dim, config_of(2, threads));
        warm.Train(rows.data(), few);
    }
    std::ofstream("/proc/self/clear_refs") << "5";
    const double before = resident("VmRSS"), wall = clock_seconds(CLOCK_MONOTONIC),
                 cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
    SuperKMeans clustering(k, dim, config); // its rotation is part of the work
    const std::vector<float> centres = clustering.Train(rows.data(), n);
    const double seconds = clock_seconds(CLOCK_MONOTONIC) - wall,
                 cpu_seconds = clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;

    std::ofstream(argv[8], std::ios::binary)
        .write(reinterpret_cast<const char *>(centres.data()), static_cast<std::streamsize>(k * dim * sizeof(float)));
    std::printf("{\"seconds\": %.6f, \"cpu_s\": %.6f, \"need_mb\": %.1f, \"iterations\": %zu}\n", seconds, cpu_seconds,
                resident("VmHWM") - before, clustering.iteration_stats.size());
    return EXIT_SUCCESS;
}
