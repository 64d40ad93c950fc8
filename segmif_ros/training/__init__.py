# SPDX-License-Identifier: Apache-2.0
"""Recipes, augmentation, losses and the training loop."""
