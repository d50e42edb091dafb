"""What the decoder reads and predicts, against loops over tokens."""

import torch

from mmkit.models.encoder_decoder.targets import encoder_input, labels_of, real_inputs, sequence_log_likelihood, shift_right


BOS, EOS, PAD = 1, 2, 0
LABELS = torch.tensor([[5, 6, 7, EOS], [5, EOS, -100, -100], [EOS, -100, -100, -100]])
INPUTS = torch.tensor([[BOS, 5, 6, 7], [BOS, 5, EOS, PAD], [BOS, EOS, PAD, PAD]])


def test_the_decoder_reads_what_is_before_each_label():
    before = LABELS.clone()
    assert torch.equal(shift_right(LABELS, BOS, PAD), INPUTS)
    assert torch.equal(LABELS, before)


def test_generated_tokens_behind_the_end_are_no_labels():
    ids = LABELS.masked_fill(LABELS < 0, PAD)
    assert torch.equal(labels_of(ids, EOS), LABELS)
    assert torch.equal(labels_of(ids, None), ids)
    assert labels_of(torch.tensor([[EOS, EOS, 5]]), EOS).tolist() == [[EOS, -100, -100]]  # also where the padding is the end


def test_an_encoder_reads_labels_as_a_text():
    ids, mask = encoder_input(LABELS, BOS, PAD)
    assert ids.tolist() == [[1, 5, 6, 7, 2], [1, 5, 2, 0, 0], [1, 2, 0, 0, 0]]
    assert mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]]


def test_the_mask_of_the_input_ends_with_its_last_token():
    assert real_inputs(INPUTS, PAD).tolist() == [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]]
    assert real_inputs(torch.tensor([[PAD, PAD], [PAD, 4]]), PAD).tolist() == [[1, 0], [1, 1]]  # the first token is always real


def test_the_log_likelihood_is_the_sum_of_the_labels_log_softmax():
    logits = torch.randn(3, 4, 9, dtype=torch.float64)
    expected = [
        sum(float(logits[b, t].log_softmax(0)[label]) for t, label in enumerate(LABELS[b].tolist()) if label >= 0)
        for b in range(3)
    ]
    torch.testing.assert_close(sequence_log_likelihood(logits, LABELS), torch.tensor(expected, dtype=torch.float64))
    assert sequence_log_likelihood(logits.bfloat16(), LABELS).dtype == torch.float32
