// Written by name_mistakes.py: what the checker says to each wrong backward.
const MISTAKES = {
 "convolution_whose_kernel_is_not_turned_around": "dx is wrong: it would be right with weight flipped along its rows and columns. It uses weight the wrong way.",
 "im2col_that_overwrites_where_windows_overlap": "dx is wrong: contributions are lost: dx[0, 1] gets nothing from dy[0, 0]. Is there = where += belongs?",
 "convolution_that_drops_a_tap": "dweight is wrong: its part in the last column of the last row is zero; the rest is right.",
 "convolution_with_height_and_width_swapped": "dweight is wrong: it is transposed, with its rows and columns exchanged.",
 "convolution_that_ignores_the_upstream": "dx is wrong: it is the same whatever dy is. Multiply by dy, the upstream gradient.",
 "max_pool_that_gives_to_the_whole_window": "dx is wrong: gradient flows where it should be zero: dx[0, 0] should get nothing from dy[0, 0]. Is a mask missing, or too wide?",
 "max_pool_that_shares_among_the_window": "dx is wrong: gradient flows where it should be zero: dx[0, 0] should get nothing from dy[0, 0]. Is a mask missing, or too wide? Apart from that, it is 1/4 of what it should be.",
 "max_pool_that_swaps_row_and_column_of_the_winner": "dx is wrong: the right numbers go to wrong places: dx[1, 0] should get nothing from dy[0, 0]. Is an index off?",
 "transposed_convolution_that_turns_the_kernel_around": "dx is wrong: it would be right with weight flipped along its rows and columns. It uses weight the wrong way.",
 "transposed_convolution_whose_gradient_is_never_stored": "dweight is wrong: it is zero everywhere, though y depends on weight.",
 "cross_entropy_not_divided_by_the_sum_of_weights": "dlogits is wrong: everywhere it is 3 times what it should be.",
 "cross_entropy_that_ignores_the_upstream": "dlogits is wrong: it is the same whatever dy is. Multiply by dy, the upstream gradient."
};
